--- What a model is made of, module by module: m:summary().
local core = require("pelk.core")
local options = require("pelk.options")

local rules = {
  image_size = { "integer|table" },
  batch = { "integer", 1, 1 },
  depth = { "integer", 4, 0 },
  time = { "boolean", false },
}

local Summary = {}
Summary.__index = Summary

--- 12345678 as "12,345,678".
local function thousands(n)
  local text = ("%d"):format(math.floor(n + 0.5))
  local out = text:reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (out:gsub("^,", ""))
end

local function shape_text(shape)
  if not shape then return "-" end
  local parts = {}
  for i, n in ipairs(shape) do parts[i] = ("%d"):format(n) end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- Columns as wide as their widest cell; the first two to the left, the rest to the right.
local function layout(cells)
  local width = {}
  for _, row in ipairs(cells) do
    for i, cell in ipairs(row) do width[i] = math.max(width[i] or 0, utf8.len(cell) or #cell) end
  end
  local lines = {}
  for _, row in ipairs(cells) do
    local out = {}
    for i, cell in ipairs(row) do
      local pad = (" "):rep(width[i] - (utf8.len(cell) or #cell))
      out[i] = i <= 2 and cell .. pad or pad .. cell
    end
    lines[#lines + 1] = (table.concat(out, "  "):gsub("%s+$", ""))
  end
  return lines
end

function Summary:__tostring()
  local header = { "module", "kind", "output", "parameters", "MACs" }
  if self.timed then header[#header + 1] = "ms" end
  local cells = { header }
  for _, row in ipairs(self) do
    if row.depth <= self.depth then
      local name = row.path == "" and "(model)" or row.path:match("[^.]+$")
      local kind = row.text ~= "" and row.class .. "(" .. row.text .. ")" or row.class
      local line = { ("  "):rep(row.depth) .. name, kind, shape_text(row.shape), thousands(row.params),
        thousands(row.macs) }
      if self.timed then line[#line + 1] = ("%.2f"):format(row.seconds * 1e3) end
      cells[#cells + 1] = line
    end
  end
  local lines = layout(cells)
  table.insert(lines, 2, ("-"):rep(utf8.len(lines[1])))
  lines[#lines + 1] = ("%s parameters, %.3f G multiply-adds executed for a batch of %d at input %s"):format(
    thousands(self.params), self.macs / 1e9, self.batch, shape_text(self.input))
  return table.concat(lines, "\n")
end

--- The input to measure with: what the first image layer takes, or what was given.
local function input_shape(m, o)
  local own = m:options()
  local size = o.image_size or 224
  local h, w = size, size
  if type(size) == "table" then h, w = size[1], size[2] end
  local channels = own.in_channels or own.channels
  if not channels then
    for _, child in ipairs(m:modules()) do
      local inner = child.module:options()
      channels = inner.in_channels or inner.channels
      if channels then break end
    end
  end
  return { o.batch, h, w, channels or 3 }
end

--- A table of all modules with their output shapes, parameters and the multiply-adds they execute.
-- @tparam Module m
-- @tab[opt] given image_size=224 (n or {h, w}), batch=1, depth=4 (how deep to print), time=false (measure)
-- @treturn table rows {path, class, text, depth, shape, params, macs, seconds}; params, macs of the whole; prints as a
-- table. MACs are those that pelk executes: a peripheral kernel costs its shared weights, not its taps.
return function(m, given)
  options.check_module("summary", m)
  local o = options.read("summary", given, rules)
  local input = input_shape(m, o)
  local x = core.zeros(input)
  local rows = core.profile(m, x)
  if o.time then rows = core.profile(m, x) end -- the first pass warmed caches and pools
  for i, row in ipairs(rows) do
    row.macs = row.flops / 2
    row.params = row.own_params
    for j = i + 1, #rows do
      if rows[j].depth <= row.depth then break end
      row.params = row.params + rows[j].own_params
    end
  end
  rows.params, rows.macs, rows.input, rows.batch = rows[1].params, rows[1].macs, input, o.batch
  rows.timed, rows.depth = o.time, o.depth
  return setmetatable(rows, Summary)
end
