--- Numbers for readers: as text, and as ticks and places on axes.
-- @module pelk.sweep.report.numbers
local json = require("pelk.json")
local options = require("pelk.options")

local numbers = {}

numbers.finite = options.is_finite

--- Four digits that matter: 0.004, 91.52, 12,345 as "12345", 4.1e-05.
function numbers.short(v)
  if not numbers.finite(v) then return tostring(v) end
  if v == math.floor(v) and math.abs(v) < 1e6 then return ("%d"):format(v) end
  return (("%.4g"):format(v):gsub("e([+-])0*(%d)", "e%1%2"):gsub("e%+", "e"))
end

--- How to write the numbers of a column, all with the same decimals: a function from a number to text.
function numbers.column(values)
  local most, whole = 0, true
  for _, v in ipairs(values) do
    most, whole = math.max(most, math.abs(v)), whole and v == math.floor(v)
  end
  if whole or most < 1e-3 or most >= 1e6 then return numbers.short end
  local digits = math.floor(math.log(most, 10)) + 1
  local format = ("%%.%df"):format(math.max(0, 4 - digits))
  return function(v) return v ~= 0 and math.abs(v) < most / 1000 and numbers.short(v) or format:format(v) end
end

local prefixes = { { 1e12, " T" }, { 1e9, " G" }, { 1e6, " M" }, { 1e3, " k" } }

--- Large counts: 443210 as "443.2 k", 12.3e6 as "12.3 M".
function numbers.count(v)
  if numbers.finite(v) then
    for _, p in ipairs(prefixes) do
      if math.abs(v) >= p[1] then return ("%.4g"):format(v / p[1]) .. p[2] end
    end
  end
  return numbers.short(v)
end

--- A parameter's value: numbers short, lists and tables as JSON, the rest as it is.
function numbers.value(v)
  if math.type(v) then return numbers.short(v) end
  if type(v) ~= "table" then return tostring(v) end
  local ok, text = pcall(json.encode, v)
  return ok and text or tostring(v)
end

-- ---- axes ----

--- A step of 1, 2 or 5 times a power of ten that makes about n of a span.
local function nice_step(span, n)
  local raw = span / math.max(1, n)
  local power = 10.0 ^ math.floor(math.log(raw, 10))
  for _, m in ipairs { 1, 2, 5 } do if raw <= m * power * 1.0001 then return m * power end end
  return 10 * power
end

local function linear_ticks(low, high, n)
  local ticks, step = {}, nice_step(high - low, n)
  for i = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) do ticks[#ticks + 1] = i * step end
  return ticks
end

--- 1, 2, 5 times powers of ten, or the powers alone where there are many.
local function log_ticks(low, high)
  local few, many = {}, {}
  for e = math.floor(math.log(low, 10)), math.ceil(math.log(high, 10)) do
    for _, m in ipairs { 1, 2, 5 } do
      local v = m * 10.0 ^ e
      if v >= low * 0.9999 and v <= high * 1.0001 then
        many[#many + 1] = v
        if m == 1 then few[#few + 1] = v end
      end
    end
  end
  return #few >= 3 and few or many
end

local LOG_FROM = 10 -- an axis is logarithmic when its ends are this many times apart

--- A scale for finite numbers.
-- @tab values the data, at least one
-- @tab o from, to: the places of the smallest and the largest; log: "auto" (where all are above 0 and far apart) or
--   false; ticks=5; whole=false: only whole ticks; margin=0.05 of the span left free at both ends
-- @treturn function place of a value, with fields: ticks, log
function numbers.scale(values, o)
  local low, high = math.huge, -math.huge
  for _, v in ipairs(values) do low, high = math.min(low, v), math.max(high, v) end
  local log = o.log == "auto" and low > 0 and high / low >= LOG_FROM
  local function bend(v) return log and math.log(v) or v end
  local a, b = bend(low), bend(high)
  local pad = (b - a) * (o.margin or 0.05)
  if b - a <= math.abs(b) * 1e-12 then pad = log and 0.5 or math.max(math.abs(a) * 0.05, o.whole and 1 or 1e-3) end
  a, b = a - pad, b + pad
  local first, last = log and math.exp(a) or a, log and math.exp(b) or b
  local ticks = log and log_ticks(first, last) or linear_ticks(first, last, o.ticks or 5)
  if o.whole then
    local kept = {}
    for _, t in ipairs(ticks) do if math.abs(t - math.floor(t + 0.5)) < 1e-9 then kept[#kept + 1] = t end end
    ticks = kept
  end
  return setmetatable({ ticks = ticks, log = log }, { __call = function(_, v)
    return o.from + (bend(v) - a) / (b - a) * (o.to - o.from)
  end })
end

return numbers
