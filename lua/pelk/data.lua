-- Data sets and loaders: files read by the core, everything else here.
local core = require "pelk.core"
local options = require "pelk.options"
local show = require "pelk.show"
local Loader = require "pelk.data.loader"
local Set = require "pelk.data.set"

local data = {}

-- ---- transforms: data.transforms.random_crop{padding = 4} ----

data.transforms = {}
for _, kind in ipairs(core.transforms()) do
  data.transforms[kind.name] = function(given)
    return options.call(core.transform, kind.name, given)
  end
end
setmetatable(data.transforms, {
  __index = function(_, name) return options.call(core.transform, name) end, -- raises, naming those there are
})
show.part("pelk.data.transforms", data.transforms)

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

-- data.cifar10{root = ..., split = ...}: the folder of the binary version (cifar-10-batches-bin).
function data.cifar10(given)
  local o = options.read("cifar10", given, { root = { "string" }, split = { "string", "train" } })
  if not o.root then error("cifar10: root is required: the folder of data_batch_1.bin and the others", 2) end
  check_split("cifar10", o.split)
  local files = { "test_batch.bin" }
  if o.split == "train" then
    for i = 1, 5 do files[i] = ("data_batch_%d.bin"):format(i) end
  end
  local per_file = 10000
  local n = #files * per_file
  local x, y = core.empty { n, 32, 32, 3, dtype = "uint8" }, core.empty { n, dtype = "int32" }
  for i, file in ipairs(files) do
    local images, labels = core.cifar10_read(o.root .. "/" .. file)
    if not images then return nil, labels end
    if images:size(1) ~= per_file then
      return nil, ("%s/%s: %d pictures, expected %d"):format(o.root, file, images:size(1), per_file)
    end
    x:narrow(1, (i - 1) * per_file + 1, per_file):copy_(images)
    y:narrow(1, (i - 1) * per_file + 1, per_file):copy_(labels)
  end
  return Set.new(x, y, { classes = cifar_classes, name = "CIFAR-10 " .. o.split })
end

-- data.loader(ds, {batch = 128, shuffle = false, seed = 0, transforms = {...}, drop_last = false})
data.loader = Loader.new

return show.part("pelk.data", data)
