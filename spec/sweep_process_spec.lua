-- Sweeps whose trials run in processes of their own: kills of any of them, two parents, many ranks.
local pelk = require("pelk")
local core = require("pelk.core")
local json = require("pelk.json")
local help = require "spec.help"

local sweep = pelk.sweep

local environment = ("LUA_PATH='./lua/?.lua;./lua/?/init.lua;;' LUA_CPATH=%q PELK_NUM_THREADS=%d "):format(
  package.cpath, core.config().cores > 1 and 1 or 2) -- two workers on one core: because it is said
local has_luv = pcall(require, "luv")

--- A script that sweeps over a = 1..4; each trial reports a * epoch for six epochs of some 50 ms and goes on from the
-- epoch it came to. What runs when is told in DIR/trace: "begin ID", "end ID".
local counting = [[
local dir, workers, n = arg[1], tonumber(arg[2] or "2"), tonumber(arg[3] or "4")
local pelk, core = require("pelk"), require("pelk.core")
local sweep = pelk.sweep
local function note(text)
  local file = assert(io.open(dir .. "/trace", "a"))
  file:write(text, "\n")
  file:close()
end
local results = sweep { dir = dir .. "/sweep", space = { a = sweep.integer(1, n) }, workers = workers, threads = 1,
  progress = false, objective = function(p, trial)
    note("begin " .. trial.id)
    local path = trial.folder .. "/epoch"
    local file = io.open(path)
    local first = file and (file:read("n") or 0) + 1 or 1
    if file then file:close() end
    for epoch = first, 6 do
      core.sleep(0.05)
      local stop = trial:report(epoch, p.a * epoch)
      core.write_file(path, tostring(epoch))
      if stop then return end
    end
    note("end " .. trial.id)
  end }
print(results.interrupted or "over")
]]

--- The same with training: weights must come out the same.
local training = [[
local dir, workers = arg[1], tonumber(arg[2] or "2")
local pelk = require("pelk")
local sweep = pelk.sweep
local function set(n, seed)
  pelk.manual_seed(seed)
  local x, labels = pelk.rand({ n, 12, 12, 1 }), {}
  for i = 1, n do labels[i] = i % 2 + 1 end
  return pelk.data.tensors(x, pelk.tensor(labels, { n }, { dtype = "int32" }))
end
sweep { dir = dir .. "/sweep", space = { seed = sweep.integer(1, 3) }, workers = workers, threads = 1,
  progress = false, objective = function(p, trial)
    pelk.manual_seed(p.seed)
    local m = pelk.models.create("pelk_nano", { depths = { 1, 1 }, dims = { 8, 16 }, kernels = { 9, 5 },
      num_classes = 2, drop_path = 0.3 })
    trial:train { model = m, train = pelk.data.loader(set(32, 1), { batch = 4, shuffle = true }),
      val = pelk.data.loader(set(16, 2), { batch = 8 }), epochs = 5, seed = p.seed, save_steps = 3,
      progress = false }
  end }
]]

describe("trials in processes", function()
  local dir
  before_each(function() dir = help.folder() end)
  after_each(function() help.remove(dir) end)
  if not has_luv then
    pending("luv is not installed (lua-luv): sweeps over processes")
    return
  end

  --- Run bash with $run, $dir and functions; its status and output.
  local function bash(script, text, more)
    help.write(dir .. "/sweep.lua", text or counting)
    local path = help.write(dir .. "/script.sh", ([[
set -m
exec 2>%s/err
dir=%s
export %s %s
sweep() { exec lua5.4 $dir/sweep.lua $dir "$@"; }
until_line() { for i in $(seq 400); do grep -q "$1" $dir/trace 2>/dev/null && return; sleep 0.02; done; exit 99; }
workers() { pgrep -P $1; }
]]):format(dir, dir, environment, more or "") .. script)
    local pipe = io.popen("bash " .. path)
    local out = pipe:read("a")
    local _, _, status = pipe:close()
    return status, out
  end

  local function lines(name)
    local out = {}
    for line in io.lines(dir .. "/" .. name) do out[#out + 1] = line end
    return out
  end

  --- No trial began while it ran, but where its process was killed in between. ends: how often one may come to its end.
  local function check_all(n, ends)
    local results = assert(sweep.read(dir .. "/sweep"))
    assert.are.equal(n or 4, #results)
    for _, r in ipairs(results) do
      assert.are.same({ "done", r.params.a * 6, 6 }, { r.state, r.value, #r.curve }, tostring(results))
      for epoch, row in ipairs(r.curve) do assert.are.same({ epoch, r.params.a * epoch }, { row.epoch, row.value }) end
    end
    local begun, ended = {}, {}
    for _, line in ipairs(lines("trace")) do
      local what, id = line:match("(%a+) (%x+)")
      local counts = what == "begin" and begun or ended
      counts[id] = (counts[id] or 0) + 1
    end
    for id, times in pairs(ended) do assert(times <= (ends or 1), id .. " came to its end twice") end
    return begun, results
  end

  it("run as many at a time as there are workers", function()
    assert.are.same({ 0, "over\n" }, { bash("(sweep 2)") })
    local begun = check_all()
    for _, times in pairs(begun) do assert.are.equal(1, times) end
    local running, most = 0, 0
    for _, line in ipairs(lines("trace")) do
      running = running + (line:find("begin") and 1 or -1)
      most = math.max(most, running)
    end
    assert.are.equal(2, most)
    assert.are.same({ 0, "over\n" }, { bash("(sweep 2)") })
    assert.are.equal(8, #lines("trace")) -- nothing ran twice
  end)

  it("go on in their workers when the parent is killed, and are not run twice", function()
    assert.are.same({ 0, "over\n" }, { bash([[
(sweep 2) & p=$!
until_line begin
kill -9 $p; wait $p
(sweep 2)]]) })
    local begun = check_all()
    for _, times in pairs(begun) do assert.are.equal(1, times) end -- the orphans came to their end
  end)

  it("go on from where they were when their worker is killed", function()
    assert.are.same({ 0, "over\n" }, { bash([[
(sweep 2) & p=$!
until_line begin; sleep 0.15
set -- $(workers $p)
[ -n "$1" ] || exit 98
kill -9 $1
wait $p]]) })
    local begun, results = check_all()
    local again = 0
    for _, times in pairs(begun) do again = again + times - 1 end
    assert.are.equal(1, again)
    assert.are.equal(4, #results)
  end)

  it("are failed when their worker is killed time and again, and others are not", function()
    assert.are.same({ 0, "over\n" }, { bash("(sweep 2)", (counting:gsub("local path =",
      "if p.a == 2 then os.execute('kill -9 $PPID') core.sleep(9) end\n    local path ="))) })
    local results = sweep.read(dir .. "/sweep")
    assert.are.same({ "done", "failed", "done", "done" }, { results[1].state, results[2].state, results[3].state,
      results[4].state })
    assert.truthy(results[2].error:find("killed by signal 9"), results[2].error)
  end)

  it("go on when all is killed, again and again, and train to the same bits", function()
    local status = bash("(sweep 2)", training)
    assert.are.equal(0, status)
    os.rename(dir .. "/sweep", dir .. "/whole")
    status = bash([[
for pause in 0.25 0.35 0.3 0.45; do
  (sweep 2) & p=$!
  sleep $pause
  kill -9 $p $(workers $p)
  wait $p
done
(sweep 2)]], training)
    assert.are.equal(0, status)
    local whole, results = sweep.read(dir .. "/whole"), sweep.read(dir .. "/sweep")
    assert.are.equal(3, #results)
    for i, r in ipairs(results) do
      assert.are.same({ "done", whole[i].value, 5 }, { r.state, r.value, #r.curve })
      local ours = core.load_tensors(r.folder .. "/run/last.safetensors")
      for name, value in pairs(core.load_tensors(whole[i].folder .. "/run/last.safetensors")) do
        assert(value:equal(ours[name]), name)
      end
      assert(r.metrics.params > 3000 and r.metrics.top1)
    end
  end)

  it("save and end after a signal to the sweep, and go on", function()
    for _, signal in ipairs { "TERM", "INT" } do
      help.remove(dir)
      dir = help.folder()
      local status, out = bash(([[
(sweep 2) & p=$!
until_line begin; sleep 0.1
kill -%s $p; wait $p]]):format(signal))
      assert.are.same({ 0, "SIG" .. signal .. "\n" }, { status, out })
      local results = sweep.read(dir .. "/sweep")
      local states = {}
      for _, r in ipairs(results) do states[r.state] = (states[r.state] or 0) + 1 end
      assert.are.equal(4, states.waiting + (states.done or 0)) -- a slow machine may have ended two before
      assert(states.waiting >= 2)
      assert.are.same({ 0, "over\n" }, { bash("(sweep 2)") })
      check_all()
    end
  end)

  it("have one parent: a second is told so", function()
    local status, out = bash([[
(sweep 2) & p=$!
until_line begin
(sweep 1); echo "status $?"
wait $p]])
    assert.are.same({ 0, "status 1\nover\n" }, { status, out })
    assert.truthy(help.read(dir .. "/err"):find("another sweep runs in this folder"))
    for _, times in pairs((check_all())) do assert.are.equal(1, times) end
  end)

  it("fail by themselves, whatever their objective does", function()
    assert.are.same({ 0, "over\n" }, { bash("(sweep 2 7)", (counting:gsub("local path =", [[
    if p.a == 1 then os.exit(3) end
    if p.a == 2 then error("no \xff luck") end
    if p.a == 3 then io.stderr:write("last words\n") os.execute("kill -SEGV $PPID") core.sleep(9) end
    if p.a == 4 then return coroutine.wrap(function() return 7 end)() end
    if p.a == 5 then io.stdout:close() io.stderr:close() end
    if p.a == 6 then local t = {} while true do t = { t } if #t > 1 then break end os.exit(true) end end
    local path =]]))) })
    local results = sweep.read(dir .. "/sweep")
    local states = {}
    for i, r in ipairs(results) do states[i] = r.state end
    assert.are.same({ "failed", "failed", "failed", "done", "done", "failed", "done" }, states)
    assert.truthy(results[1].error:find("os.exit(3)", 1, true))
    assert.truthy(results[2].error:find("no ? luck", 1, true))
    assert.truthy(results[3].error:find("signal 11", 1, true), results[3].error)
    assert.truthy(help.read(results[3].folder .. "/log.txt"):find("last words"))
    assert.are.equal(7, results[4].value)
    assert.truthy(results[6].error:find("no value"))
  end)

  it("leave no process behind when the journal cannot be written", function()
    local status, out = bash([[
(sweep 2) & p=$!
until_line begin
kids=$(workers $p)
wait $p; echo "status $?"
for k in $kids; do kill -0 $k && echo "left $k"; done; true]], (counting:gsub("local results =", [[
if not os.getenv("PELK_SWEEP_TRIAL") then
  local write, n = require("pelk.sweep.journal").write, 0
  require("pelk.sweep.journal").write = function(self, event)
    n = n + 1
    if n == 4 then core._fail_file(1, "ENOSPC", true) end
    return write(self, event)
  end
end
local results =]])))
    assert.are.same({ 0, "status 1\n" }, { status, out })
    assert.truthy(help.read(dir .. "/err"):find("No space left"))
    assert.are.same({ 0, "over\n" }, { bash("(sweep 2)") })
    check_all(4, 2) -- a worker may have been ended between its objective's end and the result's file
  end)

  it("belong to the right one of two sweeps of a script", function()
    local text = [[
local pelk = require("pelk")
local sweep = pelk.sweep
local function one(name, sign)
  return sweep { dir = arg[1] .. "/" .. name, space = { a = sweep.integer(1, 2) }, workers = 2, threads = 1,
    progress = false, objective = function(p) return sign * p.a end }
end
print(one("first", 1):best().value, one("second", -1):best().value)
]]
    assert.are.same({ 0, "2\t-1\n" }, { bash("(sweep)", text) })
  end)

  it("may be scripts of their own, and run again by their command", function()
    local text = [[
local pelk = require("pelk")
local trial = pelk.sweep.trial({ a = 40 }, (arg[1] or ".") .. "/alone")
for epoch = 1, 2 do trial:report(epoch, trial.params.a + epoch, { loss = 1 / epoch }) end
if trial.params.a == 3 then trial:finish(100, { params = 7 }) end
if trial.params.a == 4 then error("no") end
print("trial " .. trial.params.a)
]]
    local script, threads = help.write(dir .. "/objective.lua", text), core.threads()
    core.set_threads(2)
    local results = sweep { dir = dir .. "/sweep", space = { a = sweep.integer(1, 4) }, objective = script,
      workers = 2, threads = 1, progress = false }
    core.set_threads(threads)
    local states, values = {}, {}
    for i, r in ipairs(results) do states[i], values[i] = r.state, r.value end
    assert.are.same({ "done", "done", "done", "failed" }, states)
    assert.are.same({ 3, 4, 100 }, values)
    assert.are.equal(7, results[3].metrics.params)
    assert.truthy(help.read(results[2].folder .. "/log.txt"):find("begins\ntrial 2\n.*done  value 4"))
    local pipe = io.popen(environment .. results[2].command)
    assert.are.equal("trial 2\n", pipe:read("a"))
    assert.is_true(pipe:close())
    pipe = io.popen(("%s lua5.4 %s %s"):format(environment, script, dir))
    assert.are.equal("trial 40\n", pipe:read("a"))
    assert.is_true(pipe:close())
    assert.are.same({ "done", 4 }, { sweep.read(dir .. "/sweep")[2].state, sweep.read(dir .. "/sweep")[2].value })
  end)

  it("need luv, and a script: messages say so", function()
    local loaded, preload = package.loaded.luv, package.preload.luv
    package.loaded.luv, package.preload.luv = nil, function() error("not there") end
    local ok, message = pcall(sweep, { dir = dir .. "/sweep", objective = help.write(dir .. "/o.lua", "return 1"),
      progress = false })
    package.loaded.luv, package.preload.luv = loaded, preload
    assert.is_false(ok)
    assert.truthy(message:find("apt%-get install lua%-luv"), message)
    local pipe = io.popen(environment .. [[lua5.4 -e 'print(pcall(require("pelk").sweep, { dir = "/tmp/none",
      workers = 2, threads = 1, objective = print }))']])
    local out = pipe:read("a")
    pipe:close()
    assert.truthy(out:find("put the sweep into a file"), out)
  end)

  describe("of several ranks", function()
    --- One process a share, all at once, with these variables (%d: the rank).
    local function ranks(n, variables)
      return bash(([[
for rank in $(seq 0 %d); do (export %s; sweep 1 7) & done
wait]]):format(n - 1, variables:format(n)))
    end

    local function check_split(n)
      local seen = {}
      for rank = 1, n do
        for _, line in ipairs(lines(("sweep/journal.%d.jsonl"):format(rank))) do
          local event = json.decode(line)
          if event.event == "begin" then
            assert.is_nil(seen[event.id])
            seen[event.id] = rank
          end
        end
      end
      for i, r in ipairs((sweep.read(dir .. "/sweep"))) do assert.are.equal((i - 1) % n + 1, seen[r.id]) end
    end

    it("split the trials the same way under every launcher, and merge into one journal", function()
      for _, variables in ipairs { "OMPI_COMM_WORLD_RANK=$rank OMPI_COMM_WORLD_SIZE=%d",
        "SLURM_ARRAY_TASK_ID=$((5 + 2 * rank)) SLURM_ARRAY_TASK_COUNT=%d SLURM_ARRAY_TASK_MIN=5 "
          .. "SLURM_ARRAY_TASK_STEP=2",
        "SLURM_PROCID=$rank SLURM_STEP_NUM_TASKS=%d SLURM_NTASKS=9" } do
        help.remove(dir)
        dir = help.folder()
        assert.are.equal(0, (ranks(3, variables)))
        check_all(7)
        check_split(3)
        local before = sweep.read(dir .. "/sweep"):csv()
        assert.are.equal(3, sweep.merge(dir .. "/sweep"))
        check_all(7)
        assert.are.equal(before, sweep.read(dir .. "/sweep"):csv())
        assert.are.equal(0, sweep.merge(dir .. "/sweep"))
        assert.are.same({ 0, "over\n" }, { bash("(sweep 2 7)") })
        assert.are.equal(14, #lines("trace")) -- nothing was left to run
      end
    end)

    it("go on as another number of ranks", function()
      assert.are.equal(0, (bash("(export OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=3; sweep 1 7)")))
      assert.are.equal(0, (ranks(2, "OMPI_COMM_WORLD_RANK=$rank OMPI_COMM_WORLD_SIZE=%d")))
      check_all(7)
      assert.are.equal(14, #lines("trace"))
      assert.are.equal(2, sweep.merge(dir .. "/sweep"))
      check_all(7)
    end)

    it("refuse to merge while one runs", function()
      local status, out = bash([[
(export OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2; sweep 1 7) & p=$!
until_line begin
lua5.4 - $dir/sweep <<'L'
print(require("pelk").sweep.merge(arg[1]))
L
wait $p]])
      assert.are.equal(0, status)
      assert.truthy(out:find("journal.1.jsonl: its share still runs"), out)
      assert.are.equal(1, sweep.merge(dir .. "/sweep"))
    end)

    it("are one in a batch script, and refuse arrays with holes", function()
      assert.are.same({ 0, "over\n" }, { bash("(export SLURM_PROCID=0 SLURM_NTASKS=4; sweep 2 4)") })
      check_all()
      local status = bash("(export SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=1; sweep 1 4)")
      assert.are.equal(1, status)
      assert.truthy(help.read(dir .. "/err"):find("evenly spaced"))
    end)

    it("are those of mpirun", function()
      if not os.execute("command -v mpirun >/dev/null 2>&1") then
        pending("mpirun is not installed (openmpi-bin)")
        return
      end
      local status, out = bash([[
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpirun --oversubscribe -np 3 lua5.4 $dir/sweep.lua $dir 1 7]])
      assert.are.same({ 0, "over\nover\nover\n" }, { status, out })
      check_all(7)
      check_split(3)
      assert.are.equal(3, sweep.merge(dir .. "/sweep"))
      check_all(7)
    end)
  end)
end)
