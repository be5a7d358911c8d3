--- Jobs for reference.py: folders with what it is to compute, and one call for all of them.
local core = require("pelk.core")
local help = require("spec.help")
local json = require("pelk.json")

local jobs = {}

--- The interpreter that has PyTorch, or nil: Debian's may stand behind another one.
function jobs.python() return help.python("torch, numpy") end

--- A folder with config.json for a module and what is to be done with it.
function jobs.prepare(kind, options, size, training, golden)
  local dir = help.folder()
  local config = { kind = kind, options = options, size = size, training = training, golden = golden or false }
  assert(core.write_file(dir .. "/config.json", json.encode(config)))
  return dir
end

--- Run them in one process.
function jobs.run(python, dirs)
  local log = os.tmpname()
  local command = ("%s spec/torch/reference.py '%s' 2>'%s'"):format(python, table.concat(dirs, "' '"), log)
  local ok = os.execute(command)
  local text = help.read(log)
  os.remove(log)
  assert(ok, "reference.py failed: " .. text:sub(-2000))
end

return jobs
