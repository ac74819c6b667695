/** What can be asked for, and who may. */
export interface Route {
  readonly name: 'health' | 'metrics' | 'models' | 'model' | 'completions' | 'chat' | 'score'
  readonly method: 'GET' | 'POST'
  /** `:` begins a part that may be anything. */
  readonly path: string
  /** Whether it asks for the API key, where the service has one. */
  readonly key: boolean
}

export const routes: readonly Route[] = [
  // For whoever decides whether to send requests here; it says nothing but that.
  { name: 'health', method: 'GET', path: '/health', key: false },
  { name: 'metrics', method: 'GET', path: '/metrics', key: true },
  { name: 'models', method: 'GET', path: '/v1/models', key: true },
  { name: 'model', method: 'GET', path: '/v1/models/:model', key: true },
  { name: 'completions', method: 'POST', path: '/v1/completions', key: true },
  { name: 'chat', method: 'POST', path: '/v1/chat/completions', key: true },
  { name: 'score', method: 'POST', path: '/v1/score', key: true }
]

/** The route of a path; null where there is none. */
export function routeOf(path: string): Route | null {
  const parts = path.split('/')
  const fits = (route: Route) => {
    const own = route.path.split('/')
    return (
      own.length === parts.length && own.every((part, i) => part === parts[i] || (part[0] === ':' && parts[i] !== ''))
    )
  }
  return routes.find(fits) ?? null
}
