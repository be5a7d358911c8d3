-- What the examples share: the library beside them, options from the command line, a short training.
local example = {}

-- In a checkout the library is that of the checkout, after make; elsewhere the one that require finds.
local here = (arg[0]:match("^(.*)/") or ".") .. "/.."
local own = io.open(here .. "/lua/pelk/init.lua")
if own then
  own:close()
  package.path = here .. "/lua/?.lua;" .. here .. "/lua/?/init.lua;" .. package.path
  package.cpath = here .. "/" .. (os.getenv("BUILD") or "build") .. "/?.so;" .. package.cpath
end
local core = require("pelk.core")

io.stdout:setvbuf("line") -- in step with the progress on standard error

-- The comment that the running script begins with.
local function head()
  local lines = {}
  for line in io.lines(arg[0]) do
    local text = line:match("^%-%- ?(.*)$")
    if not text then break end
    lines[#lines + 1] = text
  end
  return table.concat(lines, "\n")
end

local function known_options(defaults)
  local names, out = {}, {}
  for name in pairs(defaults) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do out[i] = ("%s=%s"):format(name, tostring(defaults[name])) end
  return table.concat(out, " ")
end

local function refuse(defaults, what)
  io.stderr:write(("%s: %s; options: %s (--help says more)\n"):format(arg[0]:match("[^/]*$"), what,
    known_options(defaults)))
  os.exit(2)
end
example.refuse = refuse

-- A word of the command line as the option's type, which is that of its default.
local function convert(defaults, key, text)
  local default = defaults[key]
  if default == nil then refuse(defaults, ("unknown '%s'"):format(key)) end
  if type(default) == "boolean" then return text ~= "false" end
  if type(default) ~= "number" then return text end
  local number = tonumber(text) or refuse(defaults, ("%s wants a number"):format(key))
  return math.tointeger(number) or number
end

--- The options of an example: a table like `defaults`, with what the command line says, as steps=100, --steps=100 or
-- --steps 100. --help prints the script's head and the defaults.
function example.settings(defaults)
  local out, i = {}, 1
  for key, value in pairs(defaults) do out[key] = value end
  while arg[i] do
    if arg[i] == "--help" or arg[i] == "-h" then
      print(head() .. "\n\noptions: " .. known_options(defaults))
      os.exit(0)
    end
    local key, value = arg[i]:match("^%-*([%w_]+)=(.*)$")
    key = key or arg[i]:match("^%-%-([%w_]+)$") or refuse(defaults, ("'%s' is not understood"):format(arg[i]))
    if not value and type(defaults[key]) == "boolean" then value = "true" end
    if not value and defaults[key] ~= nil then
      i = i + 1
      value = arg[i] or refuse(defaults, ("%s wants a value"):format(key))
    end
    out[key] = convert(defaults, key, value)
    i = i + 1
  end
  return out
end

--- A folder for an example's files, which is made where it is not there.
function example.folder(path)
  local ok, message = core.make_dir(path)
  if not ok then
    io.stderr:write(tostring(message), "\n")
    os.exit(1)
  end
  return path
end

--- Say where a picture is, or why there is none (charts need gnuplot): example.drew(path, viz.plot(..., path)).
function example.drew(path, ok, message) print(ok and "picture: " .. path or "not drawn: " .. tostring(message)) end

--- Mean and standard deviation (of a sample) of numbers.
function example.mean(list)
  local sum, squares = 0, 0
  for _, v in ipairs(list) do sum = sum + v end
  local mean = sum / #list
  for _, v in ipairs(list) do squares = squares + (v - mean) ^ 2 end
  return mean, #list > 1 and math.sqrt(squares / (#list - 1)) or 0
end

--- Seconds of training in the epochs of a history.
function example.seconds(history)
  local sum = 0
  for _, row in ipairs(history) do sum = sum + row.seconds end
  return sum
end

--- Some steps of AdamW over batches of a loader, epoch after epoch; the mean loss of the last ten.
-- after(), when given, is called behind each step.
function example.fit(model, loader, steps, lr, after)
  local pelk = require("pelk")
  local optimizer = pelk.optim.adamw(model, { lr = lr, weight_decay = 0.05 })
  local recent, step, sum = {}, 0, 0
  model:train()
  local epoch = 0
  if loader:batches() == 0 then error("fewer images than a batch") end
  while step < steps do
    epoch = epoch + 1
    for x, y in loader:epoch(epoch) do
      step = step + 1
      local loss = pelk.ops.cross_entropy(model(x), y)
      optimizer:zero_grad()
      loss:backward()
      optimizer:step()
      if after then after() end
      recent[step % 10 + 1] = loss:item()
      if step == steps then break end
    end
  end
  for _, loss in pairs(recent) do sum = sum + loss end
  return sum / math.min(step, 10)
end

--- Fashion-MNIST's training and test sets, normalised, as loaders of `batch` and of 250; at most `images` and `tests`.
function example.fashion_mnist(batch, images, tests)
  local data, t = require("pelk").data, require("pelk").data.transforms
  local scale = { t.to_float(), t.normalize { mean = { 0.2860 }, std = { 0.3530 } } } -- of the training set
  local function first(split, n)
    local set, message = data.fashion_mnist { split = split }
    if not set then
      io.stderr:write(tostring(message), "\n")
      os.exit(1)
    end
    return set:take(math.min(n or set:size(), set:size()))
  end
  return data.loader(first("train", images), { batch = batch, shuffle = true, seed = 1, transforms = scale }),
    data.loader(first("test", tests), { batch = math.min(250, tests or 250), transforms = scale })
end

return example
