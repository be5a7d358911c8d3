-- ONNX Runtime for specs: npm's onnxruntime-node, put below the build folder when first needed, and skipped aloud where
-- there is no node, no npm or no network.
local json = require("pelk.json")
local core = require("pelk.core")
local help = require("spec.help")

local runtime = {}

runtime.home = os.getenv("PELK_ONNXRUNTIME") or (os.getenv("BUILD") or "build") .. "/onnx"

-- Other programs run without the sanitizers that may be preloaded into this one.
local alone = "env -u LD_PRELOAD "

local function runs(command) return os.execute(alone .. command .. " >/dev/null 2>&1") == true end

local function is_installed()
  local script = "require(require('path').resolve('%s', 'node_modules', 'onnxruntime-node'))"
  return runs(('node -e "%s"'):format(script:format(runtime.home)))
end

-- Run a Python script with the onnx package: true, or nil and what it said; nothing where there is no such Python.
function runtime.python(script, log)
  local python = help.python("onnx")
  if not python then return true end
  local done = os.execute(("%s '%s' >'%s' 2>&1"):format(python, script, log))
  return done, not done and help.read(log) or nil
end

-- Whether models can be run; else why not.
function runtime.find()
  if not runs("node --version") then return nil, "node is not installed" end
  if is_installed() then return true end
  if not runs("npm --version") then return nil, "npm is not installed" end
  local install = "npm install --ignore-scripts --no-audit --no-fund --prefix '%s' onnxruntime-node@1"
  runs(("mkdir -p '%s'"):format(runtime.home))
  runs("timeout 300 " .. install:format(runtime.home))
  if is_installed() then return true end
  return nil, "onnxruntime-node could not be installed"
end

-- A tensor in the order of the file: images {N,H,W,C} as {N,C,H,W}.
local function as_given(x) return x:dim() == 4 and x:permute({ 1, 4, 2, 3 }):contiguous() or x:contiguous() end

-- Put a case into a folder: the exported model is there as NAME.onnx. order "nhwc": the tensors stay as they are.
function runtime.give(dir, name, x, order)
  local t = order == "nhwc" and x or as_given(x)
  assert(core.write_file(("%s/%s.json"):format(dir, name), json.encode({ shape = t:shape(), data = t:flat() })))
end

-- Run all models of the folder, in one process.
function runtime.run(dir)
  local command = ("%snode spec/onnx/run.js '%s' '%s' 2>'%s/log'"):format(alone, runtime.home, dir, dir)
  assert(os.execute(command), "run.js failed: " .. help.read(dir .. "/log"))
end

-- What a model gave, in our order; and the whole answer.
function runtime.take(dir, name, order)
  local pelk = require("pelk")
  local answer = json.decode(help.read(("%s/%s.out.json"):format(dir, name)))
  assert(not answer.error, name .. ": " .. tostring(answer.error))
  local y = pelk.tensor(answer.data, answer.shape)
  if order ~= "nhwc" and y:dim() == 4 then y = y:permute({ 1, 3, 4, 2 }) end
  return y, answer
end

return runtime
