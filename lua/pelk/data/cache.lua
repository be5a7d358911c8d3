-- A packed cache: the pictures of a data set decoded, at one size, as uint8 in one safetensors file that is mapped, not
-- read. It is made once; later runs find it, and make it anew when the files, the transforms or the options changed.
local core = require "pelk.core"
local json = require "pelk.json"
local options = require "pelk.options"
local Loader = require "pelk.data.loader"
local Set = require "pelk.data.set"

local FORMAT = "pelk.pictures 1"

-- FNV-1a, 64 bits, over a growing text.
local function hash(text, h)
  h = h or -3750763034362895579
  for i = 1, #text do h = (h ~ text:byte(i)) * 1099511628211 end
  return h
end

local function labels_of(ds)
  if not ds.rows then return ds.y end
  local all, some = ds.y:flat(), {}
  for i, row in ipairs(ds.rows:flat()) do some[i] = all[row] end
  return core.tensor(some, { #some }, { dtype = "int32" })
end

-- What the cache is made of, as a short text: paths, sizes and times of files, or the tensor's shape and values;
-- labels, rows, transforms.
local function fingerprint(ds, transforms)
  local h = hash(FORMAT)
  for _, transform in ipairs(transforms) do h = hash(tostring(transform) .. "\n", h) end
  h = hash(("%d "):format(core.crc32c(labels_of(ds))), h)
  if ds.x then
    h = hash(("%s %d "):format(ds, core.crc32c(ds.x)), h)
    if ds.rows then h = hash(("%d "):format(core.crc32c(ds.rows:contiguous())), h) end
  end
  for i = 1, ds.files and ds.n or 0 do
    local path = ds:path(i)
    local size, time = core.file_stat(path)
    h = hash(("%s %s %s\n"):format(path, tostring(size), tostring(time)), h)
  end
  if ds.files then h = hash(ds.files_options, h) end
  return ("%016x"):format(h)
end

-- The header of a safetensors file for n pictures of that shape and their labels.
local function header(n, shape, metadata)
  local pixels = n * shape[1] * shape[2] * shape[3]
  local text = json.encode({
    __metadata__ = metadata,
    labels = { dtype = "I32", shape = { n }, data_offsets = { 0, 4 * n } },
    images = { dtype = "U8", shape = { n, table.unpack(shape) }, data_offsets = { 4 * n, 4 * n + pixels } },
  })
  text = text .. (" "):rep(-#text % 8)
  return string.pack("<I8", #text) .. text
end

-- All pictures of ds through the loader to the file. true; or nil, message; or false when some were left out.
local function write(ds, loader, path, metadata)
  local writer, message = core.writer(path)
  if not writer then return nil, message end
  local w <close> = writer
  local ok
  ok, message = w:write(header(ds.n, loader.item, metadata))
  if ok then ok, message = w:write(labels_of(ds)) end
  if not ok then return nil, message end
  local done = 0
  for x in loader:epoch(0) do
    done = done + x:size(1)
    ok, message = w:write(x)
    if not ok then return nil, message end
  end
  if done < ds.n then return false end
  return w:commit()
end

-- ds without the files that a loader left out.
local function without(ds, broken)
  local gone, kept = {}, {}
  for _, entry in ipairs(broken) do gone[entry.path] = true end
  for i = 1, ds.n do if not gone[ds:path(i)] then kept[#kept + 1] = i end end
  if #kept == 0 then return nil end
  return ds:subset(kept)
end

local function build(ds, o, metadata)
  local loader = Loader.new(ds, { batch = o.batch, transforms = o.transforms, workers = o.workers, dtype = "uint8" })
  local fine, ok, message = pcall(write, ds, loader, o.path, metadata)
  if not fine then return nil, (tostring(ok):gsub("^.-loader: ", "")) end -- a picture that cannot be read
  if ok ~= false then return ok, message end
  local rest = without(ds, loader.broken)
  if not rest then return nil, "cache: no picture of the data set can be read" end
  return build(rest, o, metadata)
end

-- The set in a cache file, when it is there and of that fingerprint (any, without).
local function open(path, wanted, name)
  local tensors, metadata = core.load_file(path, nil, nil, true)
  if not tensors then return nil, metadata end
  if type(metadata) ~= "table" or metadata.format ~= FORMAT or not tensors.images or not tensors.labels then
    return nil, path .. ": is no cache of pictures"
  end
  if wanted and metadata.fingerprint ~= wanted then return nil, path .. ": was made of other files or transforms" end
  local classes = metadata.classes and json.decode(metadata.classes)
  return Set.new(tensors.images, tensors.labels, { classes = classes, name = name or metadata.name })
end

local rules = {
  path = { "string" },
  transforms = { "table", {} },
  batch = { "integer", 64, 1 },
  workers = { "integer", nil, 0 },
}

-- data.cache(ds, {path=, transforms={...}, workers=}): ds with its pictures packed. The transforms bring all to one
-- size and keep bytes (resize, center_crop); random ones are drawn once. data.cache(path): an existing cache.
-- nil, message when the file cannot be written, or a picture not read.
local function cache(ds, given)
  if type(ds) == "string" then return open(ds) end
  if type(ds) ~= "table" or not ds.source then
    options.raise("cache: the first argument must be a data set or a path")
  end
  local o = options.read("cache", given, rules)
  if not o.path then options.raise("cache: path is required: the file to keep the pictures in") end
  if not ds.y or ds.y:dtype() ~= "int32" then options.raise("cache: the data set must have int32 labels") end
  local wanted = fingerprint(ds, o.transforms)
  local found = open(o.path, wanted, ds.name)
  if found then return found end
  local metadata = { format = FORMAT, fingerprint = wanted, name = ds.name,
    classes = ds.classes and json.encode(ds.classes) }
  local ok, message = build(ds, o, metadata)
  if not ok then return nil, message end
  return open(o.path, nil, ds.name)
end

return cache
