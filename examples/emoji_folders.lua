-- Emoji of two vendors as folders of classes: train on Google's drawings, test on Twitter's. 64x64 colour PNG with
-- transparency, 10 classes (Activities, Animals & Nature, ...), 1911 pictures of each vendor.
--
--     lua5.4 examples/emoji_folders.lua out=data/emoji [level=category|subcategory]
--
-- Needs npm (which fetches two packages of about 70 MB each, once) and tar. Afterwards
--
--     data.image_folder{root = "data/emoji", split = "train"}     -- Google, Apache-2.0
--     data.image_folder{root = "data/emoji", split = "test"}      -- Twitter, CC-BY-4.0
--
-- Skin-tone variants are left out; an emoji that one vendor lacks is left out of both.
local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local core = require "pelk.core"
local data = require "pelk.data"
local json = require "pelk.json"

local VERSION = "16.0.0"
local vendors = { train = "google", test = "twitter" }

local given = example.settings { out = "data/emoji", level = "category" }

local function must(ok, message)
  if not ok then
    io.stderr:write(message, "\n")
    os.exit(1)
  end
  return ok
end

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

local function run(command)
  must(os.execute(command), "this failed: " .. command)
end

local function read(path)
  local file, message = io.open(path, "rb")
  must(file, message)
  local bytes = file:read("a")
  file:close()
  return bytes
end

-- The package unpacked below out/npm, from the registry when it is not there yet.
local function package_of(vendor)
  local name = "emoji-datasource-" .. vendor
  local dir = ("%s/npm/%s"):format(given.out, name)
  if not io.open(dir .. "/emoji.json") then
    must(core.make_dir(dir))
    print(("fetching %s %s ..."):format(name, VERSION))
    run(("cd %s && npm pack --silent %s@%s >/dev/null"):format(quote(given.out .. "/npm"), name, VERSION))
    run(("cd %s && tar -xzf ../%s-%s.tgz --strip-components=1 package/emoji.json package/img/%s/64"):format(quote(dir),
      name, VERSION, vendor))
  end
  return dir
end

-- A folder's name from a category: "Animals & Nature" to "animals-nature".
local function folder_name(category)
  return (category:lower():gsub("[^%w]+", "-"):gsub("^%-+", ""):gsub("%-+$", ""))
end

local dirs = {}
for split, vendor in pairs(vendors) do dirs[split] = package_of(vendor) end

local counts, total = {}, 0
for _, emoji in ipairs(json.decode(read(dirs.train .. "/emoji.json"))) do
  local class = emoji[given.level]
  must(type(class) == "string", ("no %s in emoji.json: level is category or subcategory"):format(given.level))
  if emoji.has_img_google and emoji.has_img_twitter then
    class = folder_name(class)
    for split, vendor in pairs(vendors) do
      local folder = ("%s/%s/%s"):format(given.out, split, class)
      if not counts[class] then must(core.make_dir(folder)) end
      local picture = read(("%s/img/%s/64/%s"):format(dirs[split], vendor, emoji.image))
      must(core.write_file(folder .. "/" .. emoji.image, picture))
    end
    counts[class] = (counts[class] or 0) + 1
    total = total + 1
  end
end

print(("%d pictures of each vendor in %s"):format(total, given.out))
for split in pairs(vendors) do
  local set = assert(data.image_folder { root = given.out, split = split })
  for i = 1, #set do assert(set:get(i)) end
  print(split, set)
  for label, n in ipairs(set:class_counts()) do print(("%6d  %s"):format(n, set.classes[label])) end
end
