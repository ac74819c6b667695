// Cost of growth as a picture: seconds against N and against length, on logarithmic scales, where what costs as much again
// for each candidate or token is a straight line.
import * as echarts from 'echarts'

const ink = '#222'
const faint = '#999'
const line = '#1f6feb'

/** SVG. `fixed`: the length of the candidates while N grows, and their number while they grow longer. */
export function chartOf({ cells, machine, versions }, fixed) {
  const panels = [
    panelOf(cells, 'n', ({ length }) => length === fixed.length, `N candidates of ${fixed.length} tokens`, 'N'),
    panelOf(cells, 'length', ({ n }) => n === fixed.n, `${fixed.n} candidates of so many tokens`, 'tokens')
  ]
  const all = panels.flatMap(({ points }) => points.map(([, seconds]) => seconds))
  const [low, high] = [Math.floor(Math.log10(Math.min(...all))), Math.ceil(Math.log10(Math.max(...all)))]
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 960, height: 460 })
  const { threads } = cells[0]
  const about =
    `embedded model, prompt of 64 tokens, ${threads} thread${threads === 1 ? '' : 's'} of ${machine.cpu}, llama.cpp ${versions.llama}. ` +
    'Dashed: in proportion.'
  chart.setOption({
    animation: false,
    backgroundColor: '#fff',
    textStyle: { fontFamily: 'sans-serif', color: ink },
    title: [
      {
        text: 'Wall time of one best-of-N race',
        subtext: about,
        left: 16,
        top: 10,
        textStyle: { fontSize: 17, color: ink }
      },
      ...panels.map(({ title }, i) => ({
        text: title,
        left: i === 0 ? '29%' : '77%',
        top: 72,
        textAlign: 'center',
        textStyle: { fontSize: 13, fontWeight: 'normal', color: ink }
      }))
    ],
    grid: [
      { left: 64, right: '53%', top: 104, bottom: 56 },
      { left: '55%', right: 28, top: 104, bottom: 56 }
    ],
    xAxis: panels.map(({ name, points }, gridIndex) => ({
      gridIndex,
      name,
      nameLocation: 'middle',
      nameGap: 30,
      type: 'log',
      logBase: 2,
      min: points[0]?.[0],
      max: 2 ** Math.ceil(Math.log2(points.at(-1)?.[0] ?? 2)),
      axisLabel: { color: ink },
      splitLine: { show: false },
      axisLine: { lineStyle: { color: faint } }
    })),
    yAxis: panels.map((_, gridIndex) => ({
      gridIndex,
      type: 'log',
      min: 10 ** low,
      max: 10 ** high,
      name: gridIndex === 0 ? 'seconds' : '',
      nameTextStyle: { align: 'right' },
      axisLabel: { color: ink },
      splitLine: { lineStyle: { color: '#e4e4e4' } }
    })),
    series: panels.flatMap(({ points }, i) => seriesOf(points, i))
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return `${svg}\n`
}

function panelOf(cells, key, among, title, name) {
  const points = cells
    .filter(among)
    .map((cell) => [cell[key], cell.figures[0].seconds.median])
    .sort(([a], [b]) => a - b)
  return { points, title, name }
}

function seriesOf(points, i) {
  const [x, y] = points[0] ?? [1, 1]
  const axes = { type: 'line', xAxisIndex: i, yAxisIndex: i }
  const label = {
    show: true,
    position: 'top',
    color: ink,
    fontSize: 11,
    formatter: ({ value: [, seconds] }) => (seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(0))
  }
  return [
    {
      ...axes,
      data: points.map(([at]) => [at, (y * at) / x]),
      symbol: 'none',
      lineStyle: { type: 'dashed', width: 1, color: faint }
    },
    {
      ...axes,
      // The first stands on the axis: its label goes beside it.
      data: points.map((value, at) => ({ value, label: { align: at === 0 ? 'left' : 'center' } })),
      symbol: 'circle',
      symbolSize: 7,
      itemStyle: { color: line },
      lineStyle: { width: 2, color: line },
      label
    }
  ]
}
