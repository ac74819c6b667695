import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { loadBinding } from '../src/binding.js'
import { main } from '../src/cli/main.js'
import { open } from '../src/engine.js'
import { WinnowError } from '../src/errors.js'
import { type ExtractOptions, extractHead } from '../src/heads/extract.js'
import { findHead } from '../src/heads/tensors.js'
import { badModels } from './fakes/bad-models.js'
import { badSafetensors } from './fakes/bad-safetensors.js'
import { type FakeHub, type FakeHubOptions, fakeHub } from './fakes/hub.js'
import { linear, mlp, ones, rewardModel, shardedRewardModel, twoLabels } from './fakes/reward-model.js'
import { f32, safetensors } from './fakes/safetensors.js'
import { fakeTerminal } from './fakes/terminal.js'

let folder = ''
let out = ''
let count = 0
const hubs: FakeHub[] = []
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'winnow-extract-'))
})
afterEach(async () => {
  await Promise.all(hubs.splice(0).map((hub) => hub.close()))
})
afterAll(() => rm(folder, { recursive: true }))

type Files = Readonly<Record<string, Uint8Array>>

/** A folder with these files; `out` is a place beside it. */
async function folderOf(files: Files): Promise<string> {
  const own = join(folder, `${++count}`)
  const model = join(own, 'judge')
  await mkdir(model, { recursive: true })
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(model, name), bytes)
  out = join(own, 'out', 'judge.gguf')
  await mkdir(join(own, 'out'))
  return model
}

async function hubOf(files: Files, options: FakeHubOptions = {}): Promise<FakeHub> {
  await folderOf({})
  const hub = await fakeHub(files, options)
  hubs.push(hub)
  return hub
}

/** What is in the folder of `out`. */
const written = () => readdir(join(out, '..'))

/** The rewards the written head gives to states, through the addon. */
async function rewards(...states: readonly number[][]): Promise<number[]> {
  const { binding } = loadBinding()
  const head = await binding.loadHead(out)
  return [
    ...head.apply(Float32Array.from(states.flat()), new Float32Array(states.length * binding.featureNames.length))
  ]
}

const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => Promise.reject(new Error('it resolved')),
    (reason: WinnowError) => reason
  )

describe('a head taken out of a folder', () => {
  it('is the score of a sequence classification model', async () => {
    const model = await folderOf(rewardModel())
    expect(await extractHead(model, out)).toMatchObject({
      path: out,
      source: 'judge',
      architecture: 'LlamaForSequenceClassification',
      tensor: 'score',
      kind: 'linear',
      width: 4,
      hidden: 0,
      activation: null,
      labels: 1,
      label: 0,
      minus: null
    })
    expect(await rewards(ones, [1, 0, 0, -1])).toEqual([10, -3])
    const { facts } = await loadBinding().binding.loadHead(out)
    expect(facts).toMatchObject({ trainedOn: 'judge', modelSha256: '', features: [] })
    expect(await written()).toEqual(['judge.gguf'])
  })

  it.each([
    'score',
    'v_head',
    'v_head.summary',
    'value_head',
    'regression_head',
    'reward_head',
    'score_head',
    'classifier'
  ])('is found when it is called %s, and its bias with it', async (name) => {
    expect(await extractHead(await folderOf(rewardModel(linear(name))), out)).toMatchObject({ tensor: name })
    expect(await rewards(ones)).toEqual([15])
  })

  it('is found by the name it is given', async () => {
    const model = await folderOf(rewardModel({ ...linear('score'), ...linear('opinion') }))
    expect(await extractHead(model, out, { tensor: 'opinion' })).toMatchObject({ tensor: 'opinion' })
  })

  it.each(['Qwen2ForRewardModel', 'Qwen2ForProcessRewardModel'])('has two layers and ReLU in a %s', async (name) => {
    const model = await folderOf(rewardModel(mlp('score'), { architectures: [name] }))
    expect(await extractHead(model, out)).toMatchObject({ kind: 'mlp', hidden: 2, activation: 'relu' })
    // relu(4) * 2 + relu(-3) * 10 - 1, relu(-4) * 2 + relu(5) * 10 - 1
    expect(await rewards(ones, [-1, -1, -1, -1])).toEqual([7, 49])
  })

  it('has two layers with what the caller says in between, dropout not counted', async () => {
    const model = await folderOf(rewardModel(mlp('v_head.summary', 3)))
    expect(await extractHead(model, out, { activation: 'silu' })).toMatchObject({ activation: 'silu' })
    const silu = (x: number) => x / (1 + Math.exp(-x))
    expect((await rewards(ones))[0]).toBeCloseTo(silu(4) * 2 + silu(-3) * 10 - 1, 5)
  })

  it.each([
    [0, 20],
    ['1', 24],
    ['good', 24]
  ])('is the output that label %s names', async (label, reward) => {
    const model = await folderOf(rewardModel(twoLabels, { id2label: { 0: 'bad', 1: 'good' } }))
    await extractHead(model, out, { label })
    expect(await rewards(ones)).toEqual([reward])
    const { facts } = await loadBinding().binding.loadHead(out)
    expect(facts.trainedOn).toBe(`judge (label ${label === 0 ? 0 : 1})`)
  })

  it('is the difference of two outputs: the logit of the first under a softmax', async () => {
    const model = await folderOf(rewardModel(twoLabels))
    expect(await extractHead(model, out, { label: 1, minus: 0 })).toMatchObject({ label: 1, minus: 0, labels: 2 })
    const [logit = Number.NaN] = await rewards([1, 0, 0, -2])
    const [bad, good] = [1 - 8 + 10, 1 - 2 + 20]
    expect(1 / (1 + Math.exp(-logit))).toBeCloseTo(Math.exp(good) / (Math.exp(good) + Math.exp(bad)), 6)
  })

  it.each([
    ['F16', [0x3c00, 0x4000, 0x4200, 0x4400]],
    ['BF16', [0x3f80, 0x4000, 0x4040, 0x4080]]
  ])('is widened from %s', async (dtype, codes) => {
    const data = Buffer.alloc(8)
    codes.forEach((code, i) => void data.writeUInt16LE(code, i * 2))
    await extractHead(await folderOf(rewardModel({ 'score.weight': { dtype, shape: [1, 4], data } })), out)
    expect(await rewards([1, 10, 100, 1000])).toEqual([4321])
  })

  it('is read from the shard it is in', async () => {
    const model = await folderOf(shardedRewardModel())
    // A shard without the head is not even opened.
    await writeFile(join(model, 'model-00001-of-00002.safetensors'), 'broken')
    await extractHead(model, out)
    expect(await rewards(ones)).toEqual([15])
  })

  it('is read from the file beside the model where LLaMA-Factory puts it', async () => {
    const files = { ...rewardModel({}), 'value_head.safetensors': safetensors(linear('v_head.summary')) }
    await extractHead(await folderOf(files), out)
    expect(await rewards(ones)).toEqual([15])
  })

  it.each([
    { n_embd: 4 },
    { d_model: 4 },
    { text_config: { hidden_size: 4 } },
    { word_embed_proj_dim: 4, hidden_size: 8 }
  ])('has the width that %j says', async (config) => {
    const files = { ...rewardModel(), 'config.json': Buffer.from(JSON.stringify(config)) }
    expect(await extractHead(await folderOf(files), out)).toMatchObject({ width: 4, architecture: null })
  })

  it('replaces the head file that was there', async () => {
    const model = await folderOf(rewardModel())
    await writeFile(out, 'old')
    await extractHead(model, out)
    expect(await rewards(ones)).toEqual([10])
  })

  it('reads header, head and config, not the model', async () => {
    const files = rewardModel()
    const { bytesRead } = await extractHead(await folderOf(files), out)
    expect(files['model.safetensors']?.length).toBeGreaterThan(400_000)
    expect(bytesRead).toBeLessThan(500)
  })

  it('ranks candidates', async () => {
    const plain = await open(undefined, { head: null, threads: 1 })
    const { width } = plain.model
    await plain.close()
    const weight = f32(
      [1, width],
      Array.from({ length: width }, (_, i) => Math.sin(i))
    )
    await extractHead(await folderOf(rewardModel({ 'score.weight': weight }, { hidden_size: width })), out)
    const engine = await open(undefined, { head: out, threads: 1 })
    const { scorer, branches } = await engine.bestOf(3, 'Tom has 3 apples.', { maxTokens: 4 })
    expect(scorer).toBe('head')
    expect(branches).toHaveLength(3)
    await engine.close()
  })
})

describe('a bad reward model is refused with a sentence, and nothing is written', () => {
  it.each(
    badModels.map(([what, files, code, sentence, options]) => [what, files, code, sentence, options ?? {}] as const)
  )('%s', async (_, files, code, sentence, options) => {
    const error = await refusal(extractHead(await folderOf(files), out, options))
    expect(error.message).toContain(sentence)
    expect(error).toMatchObject({ name: 'WinnowError', code })
    expect(error.message).toMatch(/^Expected /)
    expect(await written()).toEqual([])
  })

  it.each(badSafetensors)('%s', async (_, bytes) => {
    const model = await folderOf({ ...rewardModel(), 'model.safetensors': bytes })
    const terminal = fakeTerminal()
    const code = await main(['head', 'extract', model, '--out', out], terminal)
    expect(terminal.err()).toMatch(/^winnow: Expected a safetensors file in .*judge.model\.safetensors but received /)
    expect({ code, out: terminal.out(), written: await written() }).toEqual({ code: 1, out: '', written: [] })
  })

  it.each([
    ['no folder', 'SOURCE_NOT_FOUND', (model: string) => join(model, 'none')],
    ['a file', 'SOURCE_NOT_FOUND', (model: string) => join(model, 'config.json')],
    ['no repository', 'OPTION_INVALID', () => 'hf:'],
    ['a path on the hub', 'OPTION_INVALID', () => 'hf:org/../judge'],
    ['a URL on the hub', 'OPTION_INVALID', () => 'hf:https://example.com/judge']
  ])('%s', async (_, code, source) => {
    const model = await folderOf(rewardModel())
    expect(await refusal(extractHead(source(model), out))).toMatchObject({ code })
    expect(await written()).toEqual([])
  })

  it('a folder in the place of config.json', async () => {
    const model = await folderOf({})
    await mkdir(join(model, 'config.json'))
    expect((await refusal(extractHead(model, out))).message).toContain('which is not a file')
  })

  it('a place to write that is not there', async () => {
    const model = await folderOf(rewardModel())
    expect(await refusal(extractHead(model, join(out, 'x', 'y')))).toMatchObject({ code: 'WRITE_FAILED' })
  })

  it.each<[string, ExtractOptions, string]>([
    ['an unknown option', { lable: 1 } as never, 'did you mean "label"?'],
    [
      'no label of several',
      {},
      'Expected one of the labels 0 ("bad"), 1 ("good") for label of judge but received nothing'
    ],
    ['a label that is not there', { label: 2 }, 'but received 2'],
    ['a label of another name', { label: 'best' }, 'but received "best"'],
    ['a negative label', { label: -1 }, 'Expected the number or the name of a label for label but received -1'],
    ['the same label twice', { label: 1, minus: 'good' }, 'Expected another label than label for minus'],
    [
      'an activation we do not have',
      { activation: 'gelu' as never },
      'Expected "relu" or "silu" for activation but received "gelu"'
    ],
    ['no tensors of that name', { label: 1, tensor: 'opinion' }, 'opinion.weight']
  ])('%s', async (_, options, sentence) => {
    const model = await folderOf(rewardModel(twoLabels, { id2label: { 0: 'bad', 1: 'good' } }))
    expect((await refusal(extractHead(model, out, options))).message).toContain(sentence)
    expect(await written()).toEqual([])
  })

  it('two layers and nothing that says what is between them', async () => {
    const error = await refusal(extractHead(await folderOf(rewardModel(mlp('score'))), out))
    expect(error.message).toBe(
      'Expected "relu" or "silu" for the activation between the layers of score but received nothing'
    )
  })

  it('whatever the tensors are called', () => {
    const part = fc.constantFrom('score', 'v_head', 'summary', '0', '2', '10', 'weight', 'bias', 'classifier', '', 'x')
    const name = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('.'))
    fc.assert(
      fc.property(fc.uniqueArray(name, { maxLength: 8 }), fc.option(name, { nil: undefined }), (names, wanted) => {
        try {
          const { inner, outer } = findHead(names, wanted)
          for (const layer of [inner, outer]) if (layer !== null) expect(names).toContain(layer.weight)
        } catch (error) {
          if (!WinnowError.is(error)) throw error
          expect(error.code).toBe('HEAD_UNSUPPORTED')
        }
      }),
      { numRuns: 3000 }
    )
  })
})

const deafFetch: typeof fetch = (url, init) => fetch(url, { ...init, signal: null })

describe('a head taken from the hub', () => {
  it('costs a few hundred bytes of a model of 400 kB, read by ranges of one commit', async () => {
    const hub = await hubOf(rewardModel())
    const head = await extractHead('hf:org/judge', out, { hubUrl: hub.url })
    expect(head).toMatchObject({ source: `hf:org/judge@${hub.commit}`, width: 4 })
    expect(await rewards(ones)).toEqual([10])
    expect(hub.sent()).toBeLessThan(1000)
    expect(head.bytesRead).toBeLessThan(500)
    const [first, ...files] = hub.requests
    expect(first).toMatch(/^\/api\/models\/org\/judge\/revision\/main/)
    for (const request of files)
      expect(request).toMatch(new RegExp(`^/org/judge/resolve/${hub.commit}/.* bytes=\\d+-\\d+$`))
    const { facts } = await loadBinding().binding.loadHead(out)
    expect(facts).toMatchObject({ trainedOn: `hf:org/judge@${hub.commit}`, modelSha256: '' })
  })

  it('is read from its shard, and the others are not touched', async () => {
    const hub = await hubOf(shardedRewardModel())
    await extractHead('hf:org/judge@v1', out, { hubUrl: `${hub.url}/` })
    expect(await rewards(ones)).toEqual([15])
    expect(hub.requests.filter((request) => request.includes('00001'))).toEqual([])
    expect(hub.requests[0]).toContain('/revision/v1')
  })

  it.each([false, true])(
    'is followed to where the hub sends the reader, the token is not (a cache: %s)',
    async (isCache) => {
      const elsewhere = await hubOf(rewardModel(), { isCache })
      const hub = await hubOf(rewardModel(), { token: 'hf_secret', elsewhere: elsewhere.url })
      await extractHead('hf:org/judge', out, { hubUrl: hub.url, token: 'hf_secret' })
      expect(await rewards(ones)).toEqual([10])
      expect([...hub.authorizations]).toEqual(['Bearer hf_secret'])
      expect([...elsewhere.authorizations]).toEqual([''])
    }
  )

  it('goes through the fetch it is given', async () => {
    const hub = await hubOf(rewardModel())
    const asked: string[] = []
    const through: typeof fetch = (url, init) => {
      asked.push(String(url))
      return fetch(String(url).replace('https://hub.test', hub.url), init)
    }
    await extractHead('hf:org/judge', out, { hubUrl: 'https://hub.test', fetch: through })
    expect(asked).toHaveLength(hub.requests.length)
    for (const url of asked) expect(url).toMatch(/^(https:\/\/hub\.test|http:\/\/127\.0\.0\.1)/)
  })

  it('is cut off when the hub sends more than was asked for', async () => {
    const hub = await hubOf(rewardModel(), { endless: 'later' })
    const { bytesRead } = await extractHead('hf:org/judge', out, { hubUrl: hub.url })
    expect(bytesRead).toBeLessThan(500)
    expect(await rewards(ones)).toEqual([10])
  })

  it('may take longer than the longest silence', async () => {
    const hub = await hubOf(rewardModel(), { slowMs: 150 })
    await extractHead('hf:org/judge', out, { hubUrl: hub.url, stallMs: 500 })
    expect(await rewards(ones)).toEqual([10])
  })

  it('leaves no connection open, whatever the hub goes on sending', async () => {
    const hub = await hubOf(rewardModel(), { endless: 'first' })
    await extractHead('hf:org/judge', out, { hubUrl: hub.url })
    await expect.poll(hub.connections).toBe(0)
  })

  it.each<[string, FakeHubOptions, ExtractOptions, string, string]>([
    ['ignores ranges', { ignoresRanges: true }, {}, 'HUB_FAILED', 'something else than the range asked for'],
    ['sends too little', { half: 'as all' }, {}, 'HUB_FAILED', ' bytes of '],
    ['breaks off', { half: 'ends' }, {}, 'HUB_FAILED', "Expected the hub's answer for hf:org/judge/config.json"],
    ['says nothing', { silent: true }, { stallMs: 100 }, 'HUB_FAILED', 'nothing for 0.1 s'],
    ['goes silent', { half: 'waits' }, { stallMs: 100 }, 'HUB_FAILED', 'nothing for 0.1 s'],
    ['is down', { down: true }, {}, 'HUB_FAILED', 'for org/judge@main but received status 503'],
    ['wants a token', { token: 'hf_secret' }, {}, 'SOURCE_NOT_FOUND', 'status 401'],
    ['wants another token', { token: 'hf_secret' }, { token: 'hf_other' }, 'SOURCE_NOT_FOUND', 'HF_TOKEN']
  ])('is refused with a sentence when the hub %s', async (_, wrong, options, code, sentence) => {
    const hub = await hubOf(rewardModel(), wrong)
    const error = await refusal(extractHead('hf:org/judge', out, { hubUrl: hub.url, ...options }))
    expect(error).toMatchObject({ name: 'WinnowError', code })
    expect(error.message).toContain(sentence)
    expect(error.message).not.toContain('hf_secret')
    expect(await written()).toEqual([])
  })

  it.each([
    ['repository', 'hf:org/none', 'Expected org/none@main on the hub but received nothing of that name'],
    ['revision', 'hf:org/judge@v9', 'Expected org/judge@v9 on the hub but received nothing of that name']
  ])('is refused with a sentence when there is no such %s', async (_, source, sentence) => {
    const hub = await hubOf(rewardModel())
    expect(await refusal(extractHead(source, out, { hubUrl: hub.url }))).toMatchObject({
      code: 'SOURCE_NOT_FOUND',
      message: sentence
    })
  })

  it('is refused with a sentence when there is no network', async () => {
    const hub = await hubOf(rewardModel())
    await hub.close()
    const error = await refusal(extractHead('hf:org/judge', out, { hubUrl: hub.url }))
    expect(error).toMatchObject({ code: 'HUB_FAILED' })
    expect(error.message).toMatch(/^Expected the hub's answer for org\/judge@main but received .*ECONNREFUSED/)
  })

  it.each([
    ['no URL', { hubUrl: 'hub' }, 'Expected an http or https URL for the hub but received "hub"'],
    ['a URL of another kind', { hubUrl: 'file:///etc' }, 'Expected an http or https URL'],
    ['a token of another service', { token: 'secret' }, 'Expected a text that starts with "hf_"']
  ])('is refused for %s', async (_, options, sentence) => {
    await folderOf({})
    const error = await refusal(extractHead('hf:org/judge', out, options))
    expect(error).toMatchObject({ code: 'OPTION_INVALID' })
    expect(error.message).toContain(sentence)
    expect(error.message).not.toContain('secret')
  })

  it.each<[string, FakeHubOptions, typeof fetch?]>([
    ['says nothing', { silent: true }],
    ['goes silent', { half: 'waits' }],
    ['goes silent behind a fetch that has no ear for signals', { half: 'waits' }, deafFetch]
  ])("is given up when the hub %s and the caller aborts, with the caller's reason", async (_, wrong, through) => {
    const hub = await hubOf(rewardModel(), wrong)
    const [controller, reason] = [new AbortController(), new Error('enough')]
    const options = { hubUrl: hub.url, signal: controller.signal, fetch: through }
    const extraction = extractHead('hf:org/judge', out, options)
    setTimeout(() => controller.abort(reason), 100)
    await expect(extraction).rejects.toBe(reason)
    expect(await written()).toEqual([])
    await expect(extractHead('hf:org/judge', out, { signal: controller.signal })).rejects.toBe(reason)
  })
})

describe('winnow head extract', () => {
  it('says what it took', async () => {
    const model = await folderOf(rewardModel())
    const terminal = fakeTerminal()
    expect(await main(['head', 'extract', model, '--out', out], terminal)).toBe(0)
    expect(terminal.out()).toMatch(/^head {5}.*judge\.gguf\nfrom {5}judge, LlamaForSequenceClassification\n/)
    expect(terminal.out()).toContain('reads    states of width 4\ngives    one reward\n')
    expect(terminal.err()).toBe('')
  })

  it('prints one JSON object', async () => {
    const hub = await hubOf(rewardModel(twoLabels))
    const env = { HF_ENDPOINT: hub.url, HF_TOKEN: 'hf_mine' }
    const terminal = fakeTerminal({ env })
    const flags = ['--label', '1', '--minus', '0', '--json']
    expect(await main(['head', 'extract', 'hf:org/judge', '-o', out, ...flags], terminal)).toBe(0)
    expect(JSON.parse(terminal.out())).toMatchObject({
      schemaVersion: 1,
      versions: { winnow: expect.any(String) },
      path: out,
      source: `hf:org/judge@${hub.commit}`,
      label: 1,
      minus: 0,
      labels: 2
    })
    expect([...hub.authorizations]).toEqual(['Bearer hf_mine'])
  })

  it.each([
    ['no --out', (model: string) => [model]],
    ['no model', () => ['--out', out]],
    ['an unknown flag', (model: string) => [model, '--out', out, '--lable', '1']],
    ['no label of several', (model: string) => [model, '--out', out]],
    ['an unknown label', (model: string) => [model, '--out', out, '--label', 'best']],
    ['an unknown activation', (model: string) => [model, '--out', out, '--activation', 'gelu']]
  ])('with %s exits 2 and writes nothing', async (_, argv) => {
    const model = await folderOf(rewardModel(twoLabels))
    const terminal = fakeTerminal()
    expect(await main(['head', 'extract', ...argv(model)], terminal)).toBe(2)
    expect(terminal.err()).not.toBe('')
    expect({ out: terminal.out(), written: await written() }).toEqual({ out: '', written: [] })
  })

  it('without a network exits 1 with one sentence', async () => {
    const hub = await hubOf({})
    await hub.close()
    const terminal = fakeTerminal()
    const argv = ['head', 'extract', 'hf:org/judge', '--out', out, '--hub-url', hub.url]
    expect(await main(argv, terminal)).toBe(1)
    expect(terminal.err()).toMatch(/^winnow: Expected the hub's answer for org\/judge@main .*ECONNREFUSED.*\n$/)
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143]
  ] as const)('stops at %s, exits %i and leaves no file', async (signal, code) => {
    const hub = await hubOf(rewardModel(), { silent: true })
    const terminal = fakeTerminal()
    const running = main(['head', 'extract', 'hf:org/judge', '--out', out, '--hub-url', hub.url], terminal)
    setTimeout(() => terminal.send(signal), 100)
    expect(await running).toBe(code)
    expect(terminal.err()).toContain(`Nothing was written to ${out}.`)
    expect(await written()).toEqual([])
  })

  it('keeps the old file when it fails', async () => {
    const model = await folderOf({ ...rewardModel(), 'model.safetensors': Buffer.alloc(3) })
    await writeFile(out, 'old')
    expect(await main(['head', 'extract', model, '--out', out], fakeTerminal())).toBe(1)
    expect(await readFile(out, 'utf8')).toBe('old')
    expect(await written()).toEqual(['judge.gguf'])
  })
})
