import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Engine } from '../engine.js'
import type { Result } from '../result.js'
import type { Gate } from './gate.js'
import type { Shadowed } from './shadow.js'

const durations = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
const tokenCounts = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304]

/** A race as the metrics see it. */
export interface Measured {
  readonly operation: 'chat' | 'text_completion'
  readonly model: string
  readonly result: Result
  /** From the request's arrival to the race's streams, seconds. */
  readonly waited: number
  /** From arrival to the last token, seconds. */
  readonly seconds: number
  /** Of the answers given, the longest. */
  readonly tokens: number
  readonly shadowed: Shadowed
}

/**
 * What the service counts, in a registry of prom-client's kind. The names of OpenTelemetry's GenAI conventions are written
 * as Prometheus writes them; the other names are ours.
 */
export class Metrics {
  readonly registry: Registry
  readonly #duration
  readonly #firstToken
  readonly #perToken
  readonly #tokens
  readonly #requests
  readonly #branches
  readonly #saved
  readonly #shadows

  constructor(registry: Registry | undefined, gate: Gate, engine: () => Engine | null) {
    this.registry = registry ?? new Registry()
    const registers = [this.registry]
    const labelNames = ['gen_ai_operation_name', 'gen_ai_request_model'] as const
    this.#duration = new Histogram({
      name: 'gen_ai_server_request_duration_seconds',
      help: 'Seconds from a request to the end of its answer, waiting included; error_type is our code, empty for none',
      labelNames: [...labelNames, 'error_type'] as const,
      buckets: durations,
      registers
    })
    this.#firstToken = new Histogram({
      name: 'gen_ai_server_time_to_first_token_seconds',
      help: 'Seconds from a request until its prompt has been decoded, waiting included: then every candidate has a token',
      labelNames,
      buckets: durations,
      registers
    })
    this.#perToken = new Histogram({
      name: 'gen_ai_server_time_per_output_token_seconds',
      help: 'Seconds per token of the answer after the first',
      labelNames,
      buckets: [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024],
      registers
    })
    this.#tokens = new Histogram({
      name: 'gen_ai_client_token_usage',
      help: 'Tokens of a request; those of output are of all its candidates',
      labelNames: [...labelNames, 'gen_ai_token_type'] as const,
      buckets: tokenCounts,
      registers
    })
    this.#requests = new Counter({
      name: 'winnow_requests_total',
      help: 'Requests answered, by route and status',
      labelNames: ['route', 'status'] as const,
      registers
    })
    this.#branches = new Counter({
      name: 'winnow_branches_total',
      help: 'Candidates started, killed and survived',
      labelNames: ['fate'] as const,
      registers
    })
    this.#saved = new Counter({
      name: 'winnow_tokens_saved_total',
      help: 'Tokens that killed candidates would still have written, estimated by their race',
      registers
    })
    const shadows = { better: 0, worse: 0 }
    this.#shadows = shadows
    new Gauge({
      name: 'winnow_shadows',
      help: 'Candidates that were rejected and finished all the same, by whether they scored better than the answer',
      labelNames: ['outcome'] as const,
      registers,
      collect() {
        this.set({ outcome: 'better' }, shadows.better)
        this.set({ outcome: 'worse' }, shadows.worse)
      }
    })
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read())
        }
      })
    gauge('winnow_false_kill_ratio', 'Share of the shadows that were better; 0 while there is none', () => {
      return shadows.better / Math.max(1, shadows.better + shadows.worse)
    })
    gauge('winnow_cells', 'KV cells of the pool', () => engine()?.occupancy?.cells ?? 0)
    gauge('winnow_cells_used', 'KV cells in use', () => engine()?.occupancy?.cellsUsed ?? 0)
    gauge('winnow_branches_live', 'Candidates being written', () => engine()?.occupancy?.live ?? 0)
    gauge('winnow_requests_waiting', 'Requests that wait for their turn', () => gate.waiting)
    gauge('winnow_requests_running', 'Requests whose candidates are being written', () => gate.running)
  }

  answered(route: string, status: number): void {
    this.#requests.inc({ route, status: String(status) })
  }

  failed(operation: Measured['operation'], model: string, seconds: number, code: string): void {
    const labels = { gen_ai_operation_name: operation, gen_ai_request_model: model }
    this.#duration.observe({ ...labels, error_type: code }, seconds)
  }

  raced({ operation, model, result, waited, seconds, tokens, shadowed }: Measured): void {
    const { usage, branches } = result
    const labels = { gen_ai_operation_name: operation, gen_ai_request_model: model }
    const first = waited + usage.seconds.prefill
    this.#duration.observe({ ...labels, error_type: '' }, seconds)
    this.#firstToken.observe(labels, first)
    if (tokens > 1) this.#perToken.observe(labels, Math.max(0, seconds - first) / (tokens - 1))
    this.#tokens.observe({ ...labels, gen_ai_token_type: 'input' }, usage.promptTokens)
    this.#tokens.observe({ ...labels, gen_ai_token_type: 'output' }, usage.generatedTokens)
    const killed = branches.filter(({ status }) => status.state === 'killed').length
    this.#branches.inc({ fate: 'started' }, branches.length)
    this.#branches.inc({ fate: 'killed' }, killed)
    this.#branches.inc({ fate: 'survived' }, branches.length - killed)
    this.#saved.inc(usage.savedTokens ?? 0)
    if (shadowed !== null) this.#shadows[shadowed]++
  }
}
