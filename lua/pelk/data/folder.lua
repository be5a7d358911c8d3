-- A folder a class: root/[split/]class/.../picture.jpg. Listed once, sorted by bytes, so that the order is the same on
-- every machine and in every locale. Links to folders are followed, but not to those that hold them.
local core = require "pelk.core"
local options = require "pelk.options"
local Set = require "pelk.data.set"

local readable = { jpg = true, jpeg = true, jpe = true, png = true }
-- Pictures that other programs read: they are not passed over in silence.
local foreign = { gif = true, bmp = true, webp = true, tif = true, tiff = true, ppm = true, pgm = true, pbm = true,
  tga = true, psd = true, heic = true, avif = true, svg = true, jp2 = true, jxl = true, ico = true }

-- What a folder is, whatever the path to it; the path itself where that cannot be told.
local function identity(path)
  local _, _, is = core.file_stat(path)
  return is or path
end

-- The entries of a folder, sorted, hidden ones left out, and links to folders of the set `above`: folders' names,
-- files' names; or nil, message.
local function entries(path, above)
  local list, message = core.list_dir(path)
  if not list then return nil, message end
  local folders, files = {}, {}
  for _, entry in ipairs(list) do
    local name, kind = entry[1], entry[2]
    if name:sub(1, 1) ~= "." then
      if kind == "file" then files[#files + 1] = name end
      if kind == "folder" and not above[identity(path .. "/" .. name)] then folders[#folders + 1] = name end
    end
  end
  table.sort(folders, core.bytes_before)
  table.sort(files, core.bytes_before)
  return folders, files
end

-- All pictures below a folder to found, the others' paths to refused; above: the folders that it is in, a set of what
-- they are. false, message for a folder that cannot be read.
local function walk(path, found, refused, above)
  local here = identity(path)
  above[here] = true
  local folders, files = entries(path, above)
  if not folders then return false, files end
  for _, name in ipairs(files) do
    local extension = (name:match("%.([^.]+)$") or ""):lower()
    if readable[extension] then found[#found + 1] = path .. "/" .. name end
    if foreign[extension] then refused[#refused + 1] = path .. "/" .. name end
  end
  for _, name in ipairs(folders) do
    local ok, message = walk(path .. "/" .. name, found, refused, above)
    if not ok then return false, message end
  end
  above[here] = nil
  return true
end

local function refuse(path) return ("%s: JPEG and PNG are read, this is named as something else"):format(path) end

-- The classes: those given must be there; otherwise every folder is one.
local function class_folders(root, given, above)
  local folders, message = entries(root, above)
  if not folders then return nil, message end
  if not given then
    if #folders == 0 then return nil, root .. ": no folders there; each class is one" end
    return folders
  end
  local there = {}
  for _, name in ipairs(folders) do there[name] = true end
  for _, name in ipairs(given) do
    if not there[name] then return nil, ("%s: no folder for class '%s'"):format(root, tostring(name)) end
  end
  return given
end

-- paths, labels, the files that are named as pictures but not read; or nil, message.
local function list(root, classes, stop, above)
  local paths, labels, refused = {}, {}, {}
  for label, class in ipairs(classes) do
    local ok, message = walk(root .. "/" .. class, paths, refused, above)
    if not ok then return nil, message end
    if stop and refused[1] then return nil, refuse(refused[1]) end
    for i = #labels + 1, #paths do labels[i] = label end
  end
  return paths, labels, refused
end

-- How pictures are decoded: the options of core.files.
local function decoding(o) return { channels = o.channels, background = o.background, max_pixels = o.max_pixels } end

-- The same as a text.
local function decoding_text(o)
  local background = type(o.background) == "table" and table.concat(o.background, ",") or o.background
  return ("%d %s %d"):format(o.channels, background, o.max_pixels)
end

local rules = {
  root = { "string" },
  split = { "string" },
  classes = { "table" },
  channels = { "integer", 3, 1 },
  background = { "integer|table", 255 },
  max_pixels = { "integer", 64 << 20, 1 },
  broken = { "string", "stop" },
}

-- data.image_folder{root=, split=, classes=, channels=3, background=255, max_pixels=67108864, broken="stop"}
-- root/split/class/**/*.{jpg,jpeg,png} (root/class/... without split); the classes are the folders' names, sorted, or
-- the list given (the order of a trained model, say). JPEG: grey, RGB, CMYK, progressive; PNG: all kinds, 16 bits cut
-- to 8; pictures are turned upright as EXIF says; what is transparent lies on `background` (a grey or {r, g, b}) unless
-- channels is 4. broken: a file that cannot be read, or is larger than max_pixels, ends the run with its name ("stop")
-- or is left out of its batch, named on standard error and in loader.broken ("skip"). nil, message when the folders are
-- not there.
local function image_folder(given)
  local o = options.read("image_folder", given, rules)
  if not o.root then options.raise("image_folder: root is required: the folder of the classes' folders") end
  if o.broken ~= "stop" and o.broken ~= "skip" then
    options.raise(('image_folder: broken must be "stop" or "skip", got %s'):format(o.broken))
  end
  local root = o.split and o.root .. "/" .. o.split or o.root
  local above = { [identity(o.root)] = true, [identity(root)] = true }
  local classes, message = class_folders(root, o.classes, above)
  if not classes then return nil, message end
  local paths, labels, refused = list(root, classes, o.broken == "stop", above)
  if not paths then return nil, labels end
  if #paths == 0 then return nil, root .. ": no .jpg, .jpeg or .png in its folders" end
  for _, path in ipairs(refused) do io.stderr:write("image_folder: left out: ", refuse(path), "\n") end
  local files = options.call(core.files, paths, decoding(o))
  local set = Set.of_files(files, core.tensor(labels, { #labels }, { dtype = "int32" }), {
    classes = classes, name = root:match("([^/]+)/*$") or root, broken = o.broken,
    files_options = decoding_text(o),
  })
  set.refused = refused
  return set
end

local picture_rules = { root = { "string" }, paths = { "table" }, labels = { "table" }, channels = rules.channels,
  background = rules.background, max_pixels = rules.max_pixels }

-- data.pictures{root=} or data.pictures{paths={...}, labels={...}}: all pictures in a folder and those below it, sorted
-- within each folder, without labels; or the files of a list, with or without. channels, background, max_pixels as
-- image_folder has them. nil, message when there are none.
local function pictures(given)
  local o = options.read("pictures", given, picture_rules)
  if (o.root == nil) == (o.paths == nil) then options.raise("pictures: wants root, or a list of paths") end
  local paths = o.paths or {}
  if o.root then
    local ok, message = walk(o.root, paths, {}, {})
    if not ok then return nil, message end
  end
  if #paths == 0 then return nil, (o.root or "the list") .. ": no .jpg, .jpeg or .png there" end
  if o.labels and #o.labels ~= #paths then
    options.raise(("pictures: %d paths, %d labels"):format(#paths, #o.labels))
  end
  local labels = o.labels and core.tensor(o.labels, { #paths }, { dtype = "int32" })
  return Set.of_files(options.call(core.files, paths, decoding(o)), labels, { name = o.root or "pictures",
    broken = "stop", files_options = decoding_text(o) })
end

return { image_folder = image_folder, pictures = pictures }
