--- Weakly supervised localisation: MaxBoxAcc and MaxBoxAccV2 (Choe et al., "Evaluating Weakly Supervised Object
-- Localization Methods Right", CVPR 2020), by the conventions of its code.
local cam = require("pelk.viz.cam")
local core = require("pelk.core")
local open_pictures = require("pelk.data.folder").pictures
local options = require("pelk.options")

local localize = {}

local STEPS = 1000 -- thresholds 0, .001, .. .999 of a map's maximum
local DELTAS = { 30, 50, 70 }

local Result = {}
Result.__index = Result

function Result:__tostring()
  local lines = { ("MaxBoxAcc %.2f %% (IoU 0.5, threshold %.3f), V2 %.2f %%, on %d maps"):format(self.v1,
    self.threshold, self.v2, self.n) }
  for _, delta in ipairs(DELTAS) do
    lines[#lines + 1] = ("  V2 at IoU 0.%d: %6.2f %% at threshold %.3f"):format(delta // 10, self.at[delta],
      self.thresholds[delta])
  end
  return table.concat(lines, "\n")
end

--- A map as the code sees it: resized, brought to 0..1, in 256 levels.
local function bytes_of(map, size)
  local resized = core.map_normalize(core.map_resize(map, size, size))
  local bytes = core.empty({ size, size }, { dtype = "uint8" })
  bytes:copy_(resized * 255)
  return bytes, math.floor(255 * resized:max():item())
end

--- Boxes of one picture as int32 {n,4}, from its own size to `size`, the fraction cut off.
local function boxes_of(i, entry, size)
  local rows, w, h = {}, entry.width or size, entry.height or size
  for _, box in ipairs(entry) do
    if type(box) ~= "table" or #box ~= 4 then
      options.raise(("max_box_acc: picture %d: a box is {x0,y0,x1,y1}"):format(i))
    end
    local x0, y0, x1, y1 = table.unpack(box)
    if not (x0 >= 0 and y0 >= 0 and x1 >= x0 and y1 >= y0) then
      options.raise(("max_box_acc: picture %d: {%s} is no box {x0,y0,x1,y1}"):format(i, table.concat(box, ",")))
    end
    rows[#rows + 1] = { x0 * size // w, y0 * size // h, math.min(size - 1, x1 * size // w),
      math.min(size - 1, y1 * size // h) }
  end
  if #rows == 0 then options.raise(("max_box_acc: picture %d has no box"):format(i)) end
  local flat = {}
  for _, row in ipairs(rows) do
    for k = 1, 4 do flat[#flat + 1] = math.tointeger(row[k]) end
  end
  return core.tensor(flat, { #rows, 4 }, { dtype = "int32" })
end

--- Add one map's hits: hits[delta][step].
local function count(bytes, most, known, largest, hits, deltas)
  local iou = core.box_curve(bytes, known, largest):flat()
  for step = 0, STEPS - 1 do
    local best = iou[math.floor(step / STEPS * most) + 1]
    for _, delta in ipairs(deltas) do
      if best >= delta / 100 then hits[delta][step] = hits[delta][step] + 1 end
    end
  end
end

local function new_hits(deltas)
  local hits = {}
  for _, delta in ipairs(deltas) do
    hits[delta] = {}
    for step = 0, STEPS - 1 do hits[delta][step] = 0 end
  end
  return hits
end

--- The best share over thresholds, in per cent, and the (first) threshold.
local function best(hits, n)
  local at = 0
  for step = 1, STEPS - 1 do if hits[step] > hits[at] then at = step end end
  return 100 * hits[at] / n, at / STEPS
end

--- How well maps locate: the largest part's box (V1: IoU at least 0.5), or the best of all outlines' boxes (V2: the
-- mean over IoU 0.3, 0.5, 0.7), each at the threshold (of the map's maximum, 0 to 0.999) that is best over all maps.
-- @tab maps list of float32 {h,w}, or of results of viz.cam
-- @tab boxes list of lists {{x0,y0,x1,y1}, ..., width=, height=}: pixels from 0 of a picture of that size (without: of
-- the map's, after resizing)
-- @tab[opt] given size=224: what maps and boxes are brought to
-- @treturn table {v1, v2 (per cent), threshold, at = {[30],[50],[70]}, thresholds, n}; prints
function localize.max_box_acc(maps, boxes, given)
  local o = options.read("viz.max_box_acc", given, { size = { "integer", 224, 8 } })
  if type(maps) ~= "table" or type(boxes) ~= "table" or #maps == 0 or #maps ~= #boxes then
    options.raise(("viz.max_box_acc: wants as many maps as lists of boxes, got %s and %s"):format(
      type(maps) == "table" and #maps or type(maps), type(boxes) == "table" and #boxes or type(boxes)))
  end
  local first, second = new_hits { 50 }, new_hits(DELTAS)
  for i, map in ipairs(maps) do
    if type(map) == "table" then map = map.map end
    local bytes, most = options.call(bytes_of, map, o.size)
    local known = boxes_of(i, boxes[i], o.size)
    count(bytes, most, known, true, first, { 50 })
    count(bytes, most, known, false, second, DELTAS)
  end
  local result = { n = #maps, at = {}, thresholds = {}, v2 = 0 }
  result.v1, result.threshold = best(first[50], #maps)
  for _, delta in ipairs(DELTAS) do
    result.at[delta], result.thresholds[delta] = best(second[delta], #maps)
    result.v2 = result.v2 + result.at[delta] / #DELTAS
  end
  return setmetatable(result, Result)
end

-- ---- files of boxes ----

--- Lines "path,number,..." of a file, in order: f(path, numbers, line number). nil, message when it cannot be read.
local function each_line(path, want, f)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local number = 0
  for line in file:lines() do
    number = number + 1
    line = line:gsub("\r$", "")
    if line ~= "" then
      local name, rest = line:match("^(.-),([%d%.,%-+eE ]+)$")
      local values = {}
      for word in (rest or ""):gmatch("[^,]+") do values[#values + 1] = tonumber(word) end
      if #values ~= want then
        file:close()
        return nil, ("%s:%d: wants a path and %d numbers, got '%s'"):format(path, number, want, line)
      end
      f(name, values)
    end
  end
  file:close()
  return true
end

--- The metadata of WSOL data sets: a folder with class_labels.txt (path,class from 0), image_sizes.txt
-- (path,width,height), localization.txt (path,x0,y0,x1,y1; a line a box).
-- @treturn table list of {path, label (from 1), boxes = {{x0,y0,x1,y1}, ..., width, height}}; nil, message
function localize.read_metadata(folder)
  local list, by_path, stray = {}, {}, nil
  local ok, message = each_line(folder .. "/class_labels.txt", 1, function(path, v)
    list[#list + 1] = { path = path, label = math.tointeger(v[1]) and math.tointeger(v[1]) + 1, boxes = {} }
    by_path[path] = list[#list]
  end)
  local function entry(path)
    stray = stray or (not by_path[path] and path) or nil
    return by_path[path] or { boxes = {} }
  end
  if ok then
    ok, message = each_line(folder .. "/image_sizes.txt", 2, function(path, v)
      local boxes = entry(path).boxes
      boxes.width, boxes.height = v[1], v[2]
    end)
  end
  if ok then
    ok, message = each_line(folder .. "/localization.txt", 4, function(path, v)
      table.insert(entry(path).boxes, v)
    end)
  end
  if not ok then return nil, message end
  if stray then return nil, ("%s: '%s' has no class in class_labels.txt"):format(folder, stray) end
  for _, e in ipairs(list) do
    if not e.label or e.label < 1 then return nil, ("%s: '%s' has no class from 0 on"):format(folder, e.path) end
    if #e.boxes == 0 or not e.boxes.width then
      return nil, ("%s: '%s' has no box or no size"):format(folder, e.path)
    end
  end
  return list
end

--- Localise the pictures of a data set with boxes: activation maps of each picture's own class (as the protocol has
-- it), then max_box_acc. Maps are kept, pictures are not.
-- @tparam Module model
-- @string root the folder that the metadata's paths begin at
-- @string metadata the folder of class_labels.txt, image_sizes.txt and localization.txt
-- @tab[opt] given method="cam", stage, border, size (384 in "CAM Back Again"), mean, std, transforms, limit, progress
-- as in viz.cam; map_size=224: what maps and boxes are compared at
-- @treturn table as max_box_acc, and method. nil, message when a file cannot be read.
function localize.run(model, root, metadata, given)
  local o, map_size = {}, nil
  for key, value in pairs(given or {}) do
    if key == "map_size" then map_size = value else o[key] = value end
  end
  if o.class then options.raise("viz.localize: class is each picture's own") end
  if map_size ~= nil and (math.type(map_size) ~= "integer" or map_size < 8) then
    options.raise(("viz.localize: map_size must be an integer from 8, got %s"):format(tostring(map_size)))
  end
  local list, message = localize.read_metadata(metadata)
  if not list then return nil, message end
  local paths, labels, boxes = {}, {}, {}
  for i = 1, math.min(#list, o.limit or #list) do
    paths[i], labels[i], boxes[i] = root .. "/" .. list[i].path, list[i].label, list[i].boxes
  end
  local set
  set, message = open_pictures { paths = paths, labels = labels }
  if not set then return nil, message end
  o.class = "label"
  local maps
  maps, message = cam.run(model, set, o, true)
  if not maps then return nil, message end
  local result = localize.max_box_acc(maps, boxes, { size = map_size })
  result.method = o.method or "cam"
  return result
end

return localize
