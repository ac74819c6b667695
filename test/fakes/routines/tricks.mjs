/** Functions that behave well and badly, for the worker threads of a crew. */
export const length = ({ text }) => text.length
export const sees = (input, settings) => JSON.stringify(input) === settings.input
export const later = async ({ text }) => {
  await new Promise((resolve) => setTimeout(resolve, 20))
  return text.length
}
/** Hangs on the text "hang" alone. */
export const mayHang = ({ text }) => {
  while (text === 'hang');
  return text.length
}
/** Hangs on the text "hang" and throws on any other. */
export const hangsOrThrows = ({ text }) => {
  while (text === 'hang');
  throw new Error(text)
}
export const sleeps = () => new Promise(() => setInterval(() => {}, 1000))
export const throws = () => {
  throw new Error('no such day')
}
export const returnsText = () => 'seven'
export const returnsNaN = () => Number.NaN
export const exits = () => process.exit(3)
export const fills = () => {
  const all = []
  for (;;) all.push(new Array(1e5).fill(all.length))
}
/** Fails when its call has long ended. */
export const leavesTrouble = () => {
  setTimeout(() => {
    throw new Error('too late')
  }, 1)
  return 1
}
/** Which thread answers: the count of calls it has had. */
let calls = 0
export const counts = () => ++calls
export const notAFunction = 7
