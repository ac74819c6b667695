// Runs one scenario in a process of its own, so that a crash is an exit code: node scenario.mjs NAME MODEL
import { setTimeout as delay } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { loadBinding } from '../../dist/binding.js'

const [, , name, path] = isMainThread ? process.argv : [null, null, workerData.name, workerData.path]

async function decoding(streams = 64, maxTokens = 1000) {
  const { binding } = loadBinding()
  const model = await binding.loadModel({
    path,
    gpuLayers: 0,
    devices: [],
    split: 'layer',
    mainGpu: 0,
    tensorSplit: [],
    mmap: true,
    mlock: false,
    checkTensors: false
  })
  const pool = await binding.createPool(model, {
    streams,
    cellsPerStream: 1024,
    threads: 1,
    batch: 64,
    kvType: 'f16',
    flashAttention: 'auto',
    states: true,
    deterministic: false
  })
  const { race } = await pool.prefill(Int32Array.of(1, 70, 80, 90), 0)
  await pool.fork(race, {
    count: streams,
    seed: 1n,
    firstCandidate: 0,
    maxTokens,
    temperature: 1,
    topK: 0,
    topP: 1,
    minP: 0,
    stopTokens: new Int32Array()
  })
  const advancing = pool.advance(Int32Array.of(race, 1000), 0).then(([moved]) => moved)
  await delay(100)
  return { model, pool, advancing }
}

function worker(job) {
  return new Worker(new URL(import.meta.url), { workerData: { name: job, path } })
}

const exited = (thread) => new Promise((resolve) => thread.once('exit', resolve))

/** A fit that goes on for ever, on made-up rows. */
function fitting(onEpoch) {
  const [rows, columns] = [2048, 64]
  const table = {
    parts: [Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * i))],
    partRows: rows,
    tableColumns: columns,
    firstColumn: 0,
    rows: Int32Array.from({ length: rows }, (_, i) => i),
    labels: Float32Array.from({ length: rows }, (_, i) => i % 2),
    groups: Int32Array.from({ length: rows }, (_, i) => i >> 3)
  }
  const size = { columns, stateColumns: 32, hidden: 64, batch: 1024, threads: 1 }
  const long = { epochs: 100_000, patience: 100_000, rate: 3e-3, decay: 0, dropout: 0, ranking: 0 }
  return loadBinding().binding.fitHead(table, table, { binary: true, seed: 1n, ...size, ...long }, onEpoch)
}

const scenarios = {
  async 'exit-mid-decode'() {
    await decoding()
    console.log(Date.now())
    process.exit(7)
  },
  async 'throw-mid-decode'() {
    await decoding()
    console.log(Date.now())
    setImmediate(() => {
      throw new Error('uncaught')
    })
  },
  async 'exit-open'() {
    const { pool, advancing } = await decoding(2)
    pool.abort()
    await advancing
    process.exit(0)
  },
  async 'end-open'() {
    const { pool, advancing } = await decoding(2)
    pool.abort()
    await advancing
  },
  async 'exit-with-workers'() {
    const thread = worker('decode')
    await new Promise((resolve) => thread.once('message', resolve))
    await decoding()
    console.log(Date.now())
    process.exit(7)
  },
  async 'terminate-workers'() {
    for (let round = 0; round < 3; round++) {
      const threads = [worker('decode'), worker('decode')]
      await Promise.all(threads.map((thread) => new Promise((resolve) => thread.once('message', resolve))))
      const started = Date.now()
      await Promise.all(threads.map((thread) => thread.terminate()))
      console.log(Date.now() - started)
    }
  },
  async 'terminate-loading'() {
    for (let wait = 0; wait < 20; wait += 4) {
      const thread = worker('decode')
      await delay(40 + wait)
      await thread.terminate()
    }
  },
  async 'worker-exits-mid-decode'() {
    console.log(await exited(worker('decode-and-exit')))
  },
  async 'worker-results'() {
    const threads = [worker('finish'), worker('finish')]
    const ends = Promise.all(threads.map(exited))
    const texts = await Promise.all(threads.map((thread) => new Promise((resolve) => thread.once('message', resolve))))
    await ends
    console.log(JSON.stringify(texts))
  },
  async 'collect-in-any-order'() {
    for (const order of ['model', 'pool', 'promise', 'all']) {
      let { model, pool, advancing } = await decoding(4, 100)
      if (order === 'model' || order === 'all') model = null
      if (order === 'pool' || order === 'all') pool = null
      if (order === 'all') advancing = null
      for (let round = 0; round < 5; round++) {
        globalThis.gc()
        await delay(5)
      }
      pool?.abort()
      if (order === 'model') await advancing
      globalThis.gc()
      await pool?.close()
      model?.close()
    }
    globalThis.gc()
    await delay(20)
    globalThis.gc()
  },
  async 'exit-in-epoch'() {
    fitting(() => process.exit(7))
  },
  async 'worker-exits-in-epoch'() {
    console.log(await exited(worker('fit-and-exit')))
  },
  async 'terminate-in-epoch'() {
    const thread = worker('fit-and-spin')
    await new Promise((resolve) => thread.once('message', resolve))
    console.log(await thread.terminate())
  },
  async 'terminate-fitting'() {
    const thread = worker('fit')
    await new Promise((resolve) => thread.once('message', resolve))
    console.log(await thread.terminate())
  },
  // In worker threads.
  async fit() {
    fitting(null)
    await delay(100)
    parentPort.postMessage('fitting')
  },
  async 'fit-and-exit'() {
    fitting(() => process.exit(5))
  },
  async 'fit-and-spin'() {
    fitting(() => {
      parentPort.postMessage('told')
      for (;;);
    })
  },
  async decode() {
    await decoding(32)
    parentPort.postMessage('decoding')
  },
  async 'decode-and-exit'() {
    await decoding(32)
    process.exit(5)
  },
  async finish() {
    const { model, pool, advancing } = await decoding(2)
    pool.abort()
    const { reason } = await advancing
    await pool.close()
    model.close()
    parentPort.postMessage(reason)
  }
}

await scenarios[name]()
