-- Every reader over every file of folders: files that other projects keep because they broke something once. Each call
-- must give a value or nil and a message that names the file, within a second and 256 MiB, and keep nothing.
--
--     lua5.4 spec/corpora/read.lua PROGRESS FIRST SECONDS FOLDER...
--
-- PROGRESS: a file that holds the number and name of the file being read, for who finds this process dead; FIRST: the
-- number of the file to begin with; SECONDS: how long a call may take.
local core = require "pelk.core"
local data = require "pelk.data"
local json = require "pelk.json"

local progress, first, seconds = arg[1], tonumber(arg[2]), tonumber(arg[3])
local MEMORY = 256 << 20
local T = data.transforms

-- ---- files ----

local function walk(folder, found)
  local list = core.list_dir(folder) or {}
  table.sort(list, function(a, b) return a[1] < b[1] end)
  for _, entry in ipairs(list) do
    local path = folder .. "/" .. entry[1]
    if entry[2] == "folder" then walk(path, found) elseif entry[2] == "file" then found[#found + 1] = path end
  end
  return found
end

-- ---- readers: each gives a value, or nil and a message ----

local function picture(channels)
  return function(path) return core.files({ path }, { channels = channels }):decode(1) end
end

-- Only a part of the picture, made smaller: the loader's way, which decodes no more than it needs.
local function part(path)
  local set = assert(data.pictures { paths = { path } })
  local crop = T.random_resized_crop { size = 16, scale = { 0.1, 0.9 }, interpolation = "bicubic" }
  local ok, x = pcall(data.loader(set, { batch = 1, workers = 0, transforms = { crop } }):epoch(1))
  if ok then return x end
  return nil, x
end

local function text(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("a")
  file:close()
  local value, message = json.decode(bytes)
  if value ~= nil then return value end
  return nil, ("%s: %s"):format(path, message)
end

local readers = {
  { "picture, 3 channels", picture(3) }, { "picture, 1 channel", picture(1) }, { "picture, 4 channels", picture(4) },
  { "part of a picture", part }, { "tensors", core.load_tensors },
  { "tensors, mapped", function(path) return core.load_file(path, nil, nil, true) end },
  { "IDX", core.idx_read }, { "CIFAR-10", function(path) return core.cifar_read(path, "10") end },
  { "CIFAR-100", function(path) return core.cifar_read(path, "fine") end }, { "JSON", text },
}

-- ---- reading ----

local bad, slowest, largest, counts = 0, 0, 0, {}

local function complain(path, name, what)
  bad = bad + 1
  print(("BAD   %s: %s: %s"):format(path, name, what))
end

local function try(path, reader)
  local name, read = reader[1], reader[2]
  collectgarbage()
  core.reset_peak()
  local before, began = core.memory().live, os.clock() -- the processor's time: the machine may be busy
  local ok, value, message = pcall(read, path)
  local took = os.clock() - began
  local peak = core.memory().peak - before
  slowest, largest = math.max(slowest, took), math.max(largest, peak)
  counts[name] = counts[name] or { 0, 0 }
  local slot = ok and value ~= nil and 1 or 2
  counts[name][slot] = counts[name][slot] + 1
  if not ok then complain(path, name, "raised: " .. tostring(value)) end
  if ok and value == nil and not (type(message) == "string" and message:find(path, 1, true)) then
    complain(path, name, "refused without saying which file: " .. tostring(message))
  end
  if took > seconds then complain(path, name, ("took %.2f s"):format(took)) end
  if peak > MEMORY then complain(path, name, ("wanted %d MiB"):format(peak >> 20)) end
  value, message = nil, nil -- luacheck: ignore
  collectgarbage()
  collectgarbage()
  if core.memory().live > before then
    complain(path, name, ("%d bytes were kept"):format(core.memory().live - before))
  end
end

local files = {}
for i = 4, #arg do walk(arg[i], files) end
core.set_threads(1)
for i = first, #files do
  local file = assert(io.open(progress, "w"))
  file:write(i, " ", files[i], "\n")
  file:close()
  for _, reader in ipairs(readers) do try(files[i], reader) end
end
os.remove(progress)

for _, reader in ipairs(readers) do
  local n = counts[reader[1]] or { 0, 0 }
  print(("%-20s %6d read %6d refused"):format(reader[1], n[1], n[2]))
end
local status = io.open("/proc/self/status")
if status then
  print("most memory in use: " .. (status:read("a"):match("VmHWM:%s*(%d+ kB)") or "unknown"))
  status:close()
end
print(("%d files: slowest call %.3f s, largest %.1f MiB, %d bad"):format(#files - first + 1, slowest,
  largest / (1 << 20), bad))
os.exit(bad == 0, true)
