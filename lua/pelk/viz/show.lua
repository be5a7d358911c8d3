-- Pictures in a terminal: two pixels a character, the upper half block in 24-bit colours.
local core = require "pelk.core"
local options = require "pelk.options"

local rules = {
  colormap = { "string", "viridis" }, columns = { "integer", nil, 2 }, min = { "number" }, max = { "number" },
  symmetric = { "boolean" }, file = { "any" },
}

-- Every step-th pixel would alias: means over blocks, on the picture {H,W,3} as floats.
local function shrink(pixels, columns)
  local h, w = pixels:size(1), pixels:size(2)
  local x = core.zeros({ 1, h, w, 3 }):copy_(pixels:unsqueeze(1))
  if w <= columns then return x end
  local f = (w + columns - 1) // columns
  if h < f then return core.ops.resize(x, { size = { 1, columns } }) end
  return core.ops.avg_pool(x:narrow(2, 1, h // f * f):narrow(3, 1, w // f * f):contiguous(), { kernel = f, stride = f })
end

local function color(code, rgb)
  local function whole(v) return math.floor(v + 0.5) end
  return ("\27[%d;2;%d;%d;%dm"):format(code, whole(rgb[1]), whole(rgb[2]), whole(rgb[3]))
end

local function line_of(rows, y, w)
  local parts, last = {}, nil
  for x = 1, w do
    local a, b = rows[y][x], rows[y + 1] and rows[y + 1][x]
    local code = color(38, a) .. (b and color(48, b) or "\27[49m")
    parts[#parts + 1] = (code ~= last and code or "") .. "▀"
    last = code
  end
  return table.concat(parts) .. "\27[0m"
end

-- show(t, {colormap = "viridis", columns = the terminal's, min =, max =, symmetric =, file = io.stdout}): {H,W},
-- {H,W,1} or {H,W,3}, float32 over its range or bytes as they are. Pictures wider than the terminal are shrunk.
-- Returns the text instead of writing it when file is false.
return function(t, given)
  local o = options.read("viz.show", given, rules)
  local pixels = options.call(core.picture, t, { colormap = o.colormap, min = o.min, max = o.max,
    symmetric = o.symmetric })
  local columns = o.columns or core.terminal() or 80
  local text = core.no_grad(function()
    local x = shrink(pixels, columns)[1]
    local rows, lines = x:tolist(), {}
    for y = 1, #rows, 2 do lines[#lines + 1] = line_of(rows, y, x:size(2)) end
    return table.concat(lines, "\n") .. "\n"
  end)
  if o.file == false then return text end
  local file = o.file or io.stdout
  file:write(text)
end
