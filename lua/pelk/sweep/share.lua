--- Which part of a sweep this process takes when many run it: ranks of Open MPI or another launcher, tasks of a Slurm
-- array. Nothing is scheduled here: trial i of n shares belongs to share (i - 1) mod n + 1, whoever runs it.
local share = {}

local options = require("pelk.options")

local function whole(name) return math.tointeger(tonumber(os.getenv(name) or "")) end

--- Rank and number of ranks from two variables, or nil.
local function pair(index, count)
  local i, n = whole(index), whole(count)
  if i and n and i >= 0 and i < n then return i, n end
end

--- Launchers and what they say. SLURM_NTASKS will not do: a batch script, which runs once, has it too.
local launchers = {
  { "Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE" },
  { "MPI", "PMI_RANK", "PMI_SIZE" },
  { "Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS" },
}

--- Which task of a Slurm array this is, from 0, and of how many; nil outside of one.
local function array_task()
  local task, count = whole("SLURM_ARRAY_TASK_ID"), whole("SLURM_ARRAY_TASK_COUNT")
  if not task or not count then return nil end
  local first, step = whole("SLURM_ARRAY_TASK_MIN") or 0, whole("SLURM_ARRAY_TASK_STEP") or 1
  local at = (task - first) // step
  if at < 0 or at >= count or (task - first) % step ~= 0 then
    options.raise(("sweep: task %d of a Slurm array of %d: the tasks' numbers must be evenly spaced (--array=0-%d)")
      :format(task, count, count - 1))
  end
  return at, count
end

--- {index = 1..count, count, from}: from the environment; {1, 1} alone.
function share.of_environment()
  local rank, ranks, from
  for _, launcher in ipairs(launchers) do
    rank, ranks = pair(launcher[2], launcher[3])
    if rank then
      from = launcher[1]
      break
    end
  end
  rank, ranks = rank or 0, ranks or 1
  local task, tasks = array_task()
  if task then rank, ranks, from = task * ranks + rank, tasks * ranks, "a Slurm array" end
  return { index = rank + 1, count = ranks, from = from }
end

--- The trials of a share, in order.
function share.of(trials, mine)
  local out = {}
  for i, trial in ipairs(trials) do
    if (i - 1) % mine.count + 1 == mine.index then out[#out + 1] = trial end
  end
  return out
end

return share
