-- Data sets and loaders: files read by the core, everything else here.
local core = require "pelk.core"
local options = require "pelk.options"
local show = require "pelk.show"
local Loader = require "pelk.data.loader"
local Set = require "pelk.data.set"
local mixup = require "pelk.data.mixup"

local data = {}

-- ---- transforms: data.transforms.random_crop{padding = 4} ----

data.transforms = {}
for _, kind in ipairs(core.transforms()) do
  data.transforms[kind.name] = function(given)
    return options.call(core.transform, kind.name, given)
  end
end

local letters = { m = "magnitude", mstd = "magnitude_std", n = "num_layers", p = "prob", inc = "increasing" }

-- "rand-m9-mstd0.5-inc1": timm's way to say it.
local function read_rand_augment(text)
  local given = { magnitude_std = 0, increasing = false }
  local head, rest = text:match("^(%a+)(.*)$")
  if head ~= "rand" then
    options.raise(('rand_augment: "rand-m9-mstd0.5-inc1" is how it is written, got %q'):format(text))
  end
  for part in rest:gmatch("%-([^-]+)") do
    local letter, value = part:match("^(%a+)([%d.]+)$")
    local number = tonumber(value)
    if not letters[letter] or not number then
      options.raise(("rand_augment: '%s' is not understood: m, n, mstd, p and inc with a number are"):format(part))
    end
    given[letters[letter]] = number
    if letter == "inc" then given.increasing = number ~= 0 end
  end
  return given
end

local rand_augment = data.transforms.rand_augment
-- rand_augment{magnitude = 9, ...}, rand_augment("rand-m9-mstd0.5-inc1"), or rand_augment{policy = that, fill = ...}.
function data.transforms.rand_augment(given)
  if type(given) == "string" then return rand_augment(read_rand_augment(given)) end
  if type(given) ~= "table" or given.policy == nil then return rand_augment(given) end
  local o = read_rand_augment(tostring(given.policy))
  for key, value in pairs(given) do
    if key ~= "policy" then o[key] = value end
  end
  return rand_augment(o)
end

setmetatable(data.transforms, {
  __index = function(_, name) return options.call(core.transform, name) end, -- raises, naming those there are
})
show.part("pelk.data.transforms", data.transforms)

-- What is done to whole batches.
data.mixup = mixup.new
data.soft_targets = mixup.soft_targets

-- ---- data sets ----

-- data.tensors(x, y, {classes = {...}, name = "..."})
data.tensors = Set.new

local fashion_classes = { "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
  "Ankle boot" }
local digit_classes = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" }
local cifar_classes = { "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck" }

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

-- The first of the names that is in root, or nil and which were tried.
local function find(root, names)
  for _, name in ipairs(names) do
    if exists(root .. "/" .. name) then return root .. "/" .. name end
  end
  return nil, ("%s: no %s there"):format(root, table.concat(names, " or "))
end

local function check_split(owner, split)
  if split ~= "train" and split ~= "test" then
    error(("%s: split must be \"train\" or \"test\", got %s"):format(owner, tostring(split)), 3)
  end
end

local mnist_counts = { train = 60000, test = 10000 }

-- The four files of MNIST and its relatives, gzip or plain. A third result of true: there is no such file.
local function read_mnist(name, root, split, classes)
  local prefix = split == "train" and "train" or "t10k"
  local tensors = {}
  for i, kind in ipairs { "images-idx3", "labels-idx1" } do
    local file = ("%s-%s-ubyte"):format(prefix, kind)
    local path, missing = find(root, { file .. ".gz", file, (file:gsub("%-idx", ".idx")) })
    if not path then return nil, missing, true end
    local message
    if i == 1 then tensors[i], message = core.idx_images(path) else tensors[i], message = core.idx_labels(path, 10) end
    if not tensors[i] then return nil, message end
  end
  local x, y = tensors[1], tensors[2]
  local wanted = mnist_counts[split]
  if x:size(1) ~= wanted or y:size(1) ~= wanted then
    return nil, ("%s: %d pictures and %d labels, %s has %d of each"):format(root, x:size(1), y:size(1), split, wanted)
  end
  return Set.new(x, y, { classes = classes, name = name .. " " .. split })
end

local fashion_root = "/usr/share/datasets/fashion-mnist"

-- data.fashion_mnist{root = ..., split = "train" or "test"}: 28x28x1, 10 classes; nil, message when it is not there.
function data.fashion_mnist(given)
  local o = options.read("fashion_mnist", given, { root = { "string", fashion_root }, split = { "string", "train" } })
  check_split("fashion_mnist", o.split)
  local ds, message, missing = read_mnist("Fashion-MNIST", o.root, o.split, fashion_classes)
  if not missing then return ds, message end
  return nil, message .. " (Debian and Ubuntu: apt-get install dataset-fashion-mnist; elsewhere: root = the folder of "
    .. "the four files)"
end

-- data.mnist{root = ..., split = ...}: the folder of the four files, gzip or plain.
function data.mnist(given)
  local o = options.read("mnist", given, { root = { "string" }, split = { "string", "train" } })
  if not o.root then error("mnist: root is required: the folder of the four files", 2) end
  check_split("mnist", o.split)
  return read_mnist("MNIST", o.root, o.split, digit_classes)
end

-- The files of one split, each of per_file records, as one set; or nil, message.
local function read_cifar(root, files, kind, per_file, more)
  local n = #files * per_file
  local x, y = core.empty { n, 32, 32, 3, dtype = "uint8" }, core.empty { n, dtype = "int32" }
  for i, file in ipairs(files) do
    local images, labels = core.cifar_read(root .. "/" .. file, kind)
    if not images then return nil, labels end
    if images:size(1) ~= per_file then
      return nil, ("%s/%s: %d pictures, expected %d"):format(root, file, images:size(1), per_file)
    end
    x:narrow(1, (i - 1) * per_file + 1, per_file):copy_(images)
    y:narrow(1, (i - 1) * per_file + 1, per_file):copy_(labels)
  end
  return Set.new(x, y, more)
end

-- data.cifar10{root = ..., split = ...}: the folder of the binary version (cifar-10-batches-bin).
function data.cifar10(given)
  local o = options.read("cifar10", given, { root = { "string" }, split = { "string", "train" } })
  if not o.root then error("cifar10: root is required: the folder of data_batch_1.bin and the others", 2) end
  check_split("cifar10", o.split)
  local files = { "test_batch.bin" }
  if o.split == "train" then
    for i = 1, 5 do files[i] = ("data_batch_%d.bin"):format(i) end
  end
  return read_cifar(o.root, files, "10", 10000, { classes = cifar_classes, name = "CIFAR-10 " .. o.split })
end

-- Lines of a file; nil when it is not there.
local function read_lines(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local lines = {}
  for line in file:lines() do if line ~= "" then lines[#lines + 1] = line end end
  file:close()
  return lines
end

-- data.cifar100{root = ..., split = ..., labels = "fine" or "coarse"}: the folder of the binary version
-- (cifar-100-binary); the classes' names are in it.
function data.cifar100(given)
  local o = options.read("cifar100", given,
    { root = { "string" }, split = { "string", "train" }, labels = { "string", "fine" } })
  if not o.root then error("cifar100: root is required: the folder of train.bin and test.bin", 2) end
  check_split("cifar100", o.split)
  if o.labels ~= "fine" and o.labels ~= "coarse" then
    error(('cifar100: labels must be "fine" or "coarse", got %s'):format(o.labels), 2)
  end
  local classes = read_lines(("%s/%s_label_names.txt"):format(o.root, o.labels))
  return read_cifar(o.root, { o.split .. ".bin" }, o.labels, o.split == "train" and 50000 or 10000,
    { classes = classes, name = "CIFAR-100 " .. o.split })
end

local folder = require "pelk.data.folder"
data.image_folder, data.pictures = folder.image_folder, folder.pictures
data.cache = require "pelk.data.cache"

-- data.loader(ds, {batch = 128, shuffle = false, seed = 0, transforms = {...}, drop_last = false, workers =, mixup =})
data.loader = Loader.new

return show.part("pelk.data", data)
