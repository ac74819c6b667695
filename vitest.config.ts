import { defineConfig } from 'vitest/config'

const source = (name: string) => new URL(`./src/${name}.ts`, import.meta.url).pathname

export default defineConfig({
  // The examples import the package by its name, as a user does; the tests run them on the sources.
  resolve: {
    alias: [
      { find: /^winnow-llm$/, replacement: source('index') },
      { find: /^winnow-llm\/server$/, replacement: source('server/index') },
      { find: /^winnow-llm\/fastify$/, replacement: source('server/fastify') }
    ]
  },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/pages/**'],
    // A process for each file: one llama.cpp variant per process, and a crash names its file.
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
