// node run.js MODULES DIR: runs every NAME.onnx of DIR in ONNX Runtime (found below MODULES) on the input in NAME.json,
// {"shape": [...], "data": [...]}, and writes {"shape", "data"} or {"error"} to NAME.out.json.
const fs = require('fs'), path = require('path')
const [, , modules, dir] = process.argv
const ort = require(path.join(path.resolve(modules), 'node_modules', 'onnxruntime-node'))

async function run(name) {
  const given = JSON.parse(fs.readFileSync(path.join(dir, name + '.json')))
  const options = {intraOpNumThreads: 1, interOpNumThreads: 1}
  const session = await ort.InferenceSession.create(path.join(dir, name + '.onnx'), options)
  const x = new ort.Tensor('float32', Float32Array.from(given.data), given.shape)
  const y = (await session.run({[session.inputNames[0]]: x}))[session.outputNames[0]]
  return {shape: y.dims, data: Array.from(y.data), input: session.inputNames, output: session.outputNames}
}

(async () => {
  for (const file of fs.readdirSync(dir).filter(f => f.endsWith('.onnx'))) {
    const name = file.slice(0, -5)
    const result = await run(name).catch(e => ({error: String(e)}))
    fs.writeFileSync(path.join(dir, name + '.out.json'), JSON.stringify(result))
  }
})()
