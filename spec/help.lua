--- What several specs need: expected failures, and files in a folder of their own.
local assert = require "luassert"

local help = {}

--- f(...) raises a string that matches the pattern.
function help.raises(pattern, f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok, "no error; expected one like " .. pattern)
  assert.is_string(message)
  assert.truthy(message:find(pattern), ("%q does not match %q"):format(message, pattern))
end

--- The results nil, message, with a message that matches: help.refuses("no such file", core.load_tensors(path)).
function help.refuses(pattern, value, message)
  assert.is_nil(value)
  assert.is_string(message)
  assert.truthy(message:find(pattern), ("%q does not match %q"):format(message, pattern))
end

--- The name of a new folder, which is made unless `absent`.
function help.folder(absent)
  local dir = os.tmpname()
  os.remove(dir)
  if not absent then assert(os.execute(("mkdir '%s'"):format(dir))) end
  return dir
end

function help.remove(dir) os.execute(("rm -rf '%s'"):format(dir)) end

function help.read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("a")
  file:close()
  return bytes
end

function help.write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
  return path
end

--- A Python that has the module ("torch", "numpy"), or nil: Debian's may stand behind another one in the path.
function help.python(module)
  for _, python in ipairs({ "python3", "/usr/bin/python3" }) do
    local command = "env -u LD_PRELOAD " .. python -- the sanitizers are for us
    if os.execute(("%s -c 'import %s' >/dev/null 2>&1"):format(command, module)) then return command end
  end
end

return help
