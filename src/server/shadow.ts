import type { Policy, View } from '../policy.js'
import { highest } from '../policy.js'
import type { Result } from '../result.js'

/** What became of a branch that was to be killed and was finished all the same, to see whether it would have won. */
export type Shadowed = 'better' | 'worse' | null

/**
 * A race of which one branch is finished in the shadow if the policy rejects it. Nobody but this class knows it is alive:
 * to the policy it is killed, and it wins nothing.
 */
export class Shadow {
  readonly #id: number
  #fell = false

  /** `id` is the branch, chosen before anything is known of it. */
  constructor(id: number) {
    this.#id = id
  }

  /** Branches that are no answers. */
  get hidden(): ReadonlySet<number> {
    return new Set(this.#fell ? [this.#id] : [])
  }

  over(policy: Policy): Policy {
    const choose = policy.choose?.bind(policy) ?? ((view: View) => highest(view.branches))
    return {
      ...policy,
      decide: (view) => {
        const decision = policy.decide(this.#seen(view))
        if (!decision.kill.includes(this.#id)) return decision
        this.#fell = true
        return { ...decision, kill: decision.kill.filter((id) => id !== this.#id) }
      },
      choose: (view) => choose(this.#seen(view))
    }
  }

  /** Whether the policy's rejection cost the race its best answer; null where it did not reject the branch, or the branch has no end. */
  outcome({ winner, branches }: Result): Shadowed {
    const own = branches[this.#id]
    if (!this.#fell || own === undefined || own.status.state !== 'finished') return null
    const whole = ['end', 'stop', 'length'].includes(own.status.reason)
    const best = winner?.score ?? null
    if (!whole || own.score === null || best === null) return null
    return own.score > best ? 'better' : 'worse'
  }

  #seen(view: View): View {
    if (!this.#fell) return view
    const branches = view.branches.map((branch) =>
      branch.id === this.#id ? { ...branch, state: 'killed' as const, reason: null, fresh: false } : branch
    )
    return { ...view, branches, last: branches.every(({ state }) => state !== 'live') }
  }
}
