--- The checkpoints of a run: files from which it goes on exactly, the last few kept, the newest valid one found.
-- Each is a safetensors file with a checksum of all that is in it, written beside, synced and renamed. Its name is the
-- number of batches that were seen.
-- @module pelk.train.checkpoints

local core = require("pelk.core")
local json = require("pelk.json")

local Checkpoints = {}
Checkpoints.__index = Checkpoints

local FORMAT = "pelk.state 2"

--- Checkpoints of the run in a folder.
-- @string dir the run's folder
-- @int keep how many are kept
function Checkpoints.new(dir, keep) return setmetatable({ dir = dir .. "/checkpoints", keep = keep }, Checkpoints) end

--- Paths, newest first.
function Checkpoints:list()
  local names = {}
  for _, entry in ipairs(core.list_dir(self.dir) or {}) do
    if entry[1]:find("^%d+%.safetensors$") then names[#names + 1] = entry[1] end
  end
  table.sort(names, function(a, b) return a > b end)
  for i, name in ipairs(names) do names[i] = self.dir .. "/" .. name end
  return names
end

--- Remove all but the newest, and what killed writers left.
function Checkpoints:prune()
  for i, path in ipairs(self:list()) do
    if i > self.keep then os.remove(path) end
  end
  for _, entry in ipairs(core.list_dir(self.dir) or {}) do
    if entry[1]:find("^%..*%.pelk%-new$") then os.remove(self.dir .. "/" .. entry[1]) end
  end
end

--- Write one; older ones go only when it is safe on the disk.
-- @int number orders them
-- @param tensors list of {name, tensor}
-- @tab counters plain values
-- @treturn boolean true, or nil, message: then the older ones are as they were
function Checkpoints:save(number, tensors, counters)
  local ok, message = core.make_dir(self.dir)
  if not ok then return nil, message end
  local path = ("%s/%012d.safetensors"):format(self.dir, number)
  ok, message = core.save_tensors(path, tensors, { format = FORMAT, counters = json.encode(counters) })
  if not ok then return nil, message end
  self:prune()
  return true
end

local function read(path)
  local tensors, metadata = core.load_tensors(path)
  if not tensors then return nil, metadata end
  if not metadata or metadata.format ~= FORMAT or not metadata.counters then
    return nil, path .. ": is no state of a run"
  end
  local counters, message = json.decode(metadata.counters)
  if not counters then return nil, ("%s: %s"):format(path, message) end
  return tensors, counters
end

--- The newest that can be read and whose checksum is right.
-- @treturn table tensors by name, or nil, message when there is none
-- @treturn table counters
-- @treturn string its path
-- @treturn table list of messages about newer ones that are damaged
function Checkpoints:load()
  local damaged = {}
  for _, path in ipairs(self:list()) do
    local tensors, counters = read(path)
    if tensors then return tensors, counters, path, damaged end
    damaged[#damaged + 1] = counters
  end
  return nil, damaged[1] and table.concat(damaged, "; ") or self.dir .. ": no checkpoint there"
end

return Checkpoints
