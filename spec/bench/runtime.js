// node runtime.js MODULES MODEL.onnx SHAPE THREADS: the median milliseconds of ONNX Runtime for an input of that shape
// (as 1,3,224,224), the session's time to load left out.
const path = require('path')
const [, , modules, file, shape, threads] = process.argv
const ort = require(path.join(path.resolve(modules), 'node_modules', 'onnxruntime-node'))

;(async () => {
  const options = {intraOpNumThreads: Number(threads), interOpNumThreads: 1}
  const session = await ort.InferenceSession.create(file, options)
  const dims = shape.split(',').map(Number), count = dims.reduce((a, b) => a * b, 1)
  const x = new ort.Tensor('float32', Float32Array.from({length: count}, (_, i) => Math.sin(i)), dims)
  const run = async () => {
    const began = process.hrtime.bigint()
    await session.run({[session.inputNames[0]]: x})
    return Number(process.hrtime.bigint() - began) / 1e6
  }
  await run()
  const times = []
  for (let all = 0; times.length < 3 || (times.length < 50 && all < 1000);) all += times[times.push(await run()) - 1]
  times.sort((a, b) => a - b)
  console.log(times[times.length >> 1].toFixed(4))
})().catch(e => { console.error(String(e)); process.exit(1) })
