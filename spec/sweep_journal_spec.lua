-- Journals of sweeps: lines that are whole, one writer, disks that fail.
local core = require("pelk.core")
local help = require "spec.help"

describe("a journal", function()
  local dir, path
  before_each(function()
    dir = help.folder()
    path = dir .. "/journal.jsonl"
  end)
  after_each(function()
    core._fail_file(0)
    help.remove(dir)
  end)

  it("takes lines and goes on behind them", function()
    local j = assert(core.journal(path))
    assert(j:append("{\"a\":1}"))
    j:close()
    j:close()
    help.raises("freed", j.append, j, "x")
    do
      local again <close> = assert(core.journal(path))
      assert(again:append(""))
      assert(again:append("b"))
    end
    assert.are.equal("{\"a\":1}\n\nb\n", help.read(path))
    help.raises("one line", function()
      local k <close> = assert(core.journal(path))
      k:append("two\nlines")
    end)
  end)

  it("of several shares are merged in the order of time, once", function()
    local sweep, journal = require("pelk.sweep"), require("pelk.sweep.journal")
    local function event(what, id, time, more)
      return ('{"event":"%s","id":"%s","time":%d%s}\n'):format(what, id, time, more or "")
    end
    local first = event("begin", "a", 10) .. event("end", "a", 11, ',"state":"failed"')
    help.write(dir .. "/journal.1.jsonl", first)
    help.write(path, event("begin", "a", 13) .. event("end", "a", 13, ',"state":"paused"') .. event("begin", "a", 13)
      .. event("end", "a", 14, ',"state":"done","value":1'))
    local before = journal.events(dir)
    assert.are.equal("done", journal.fold(dir).a.state)
    assert.are.equal(6, #before)
    assert.are.equal(1, sweep.merge(dir))
    assert.are.same(before, (journal.events(dir)))
    assert.are.equal("done", journal.fold(dir).a.state)
    help.write(dir .. "/journal.1.jsonl", first) -- a merge that was killed before it removed the share's
    assert.are.same(before, (journal.events(dir)))
    assert.are.equal(1, sweep.merge(dir))
    assert.are.same(before, (journal.events(dir)))
  end)

  it("cuts off a last line without an end, however long", function()
    for _, torn in ipairs({ "", "{", ("x"):rep(4095), ("x"):rep(4096), ("y"):rep(10000), "\0\0" }) do
      for _, whole in ipairs({ "", "\n", "first\n", ("z"):rep(5000) .. "\n" }) do
        help.write(path, whole .. torn)
        local j <close> = assert(core.journal(path))
        assert(j:append("next"))
        assert.are.equal(whole .. "next\n", help.read(path))
      end
    end
  end)

  it("has one writer, in this process and from others, until it is closed or killed", function()
    local j = assert(core.journal(path))
    local other, message, why = core.journal(path)
    assert.is_nil(other)
    assert.truthy(message:find("another process has it open"))
    assert.are.equal("taken", why)
    j:close()
    core.journal(path):close()
    local script = ("LUA_CPATH=%q lua5.4 -e 'j = require(\"pelk.core\").journal(%q) j:append(\"x\") %%s'"):format(
      package.cpath, path)
    os.execute(script:format("io.popen(\"kill -9 $PPID\"):close() os.execute(\"sleep 9\")") .. " 2>/dev/null")
    assert.are.equal("x\n", help.read(path))
    core.journal(path):close()
  end)

  it("is not held by programs that its process starts", function()
    local j = assert(core.journal(path))
    local child = io.popen("sleep 0.4; echo over")
    j:close()
    local again = core.journal(path)
    assert.truthy(again, "a child holds the lock")
    again:close()
    child:close()
  end)

  it("holds whole lines only, whatever call fails", function()
    for _, fault in ipairs({ "ENOSPC", "EIO", "EINTR", "short" }) do
      for persist = 0, 1 do
        for n = 1, fault == "EINTR" and persist == 1 and 0 or 12 do -- EINTR for ever never ends
          os.remove(path)
          core._fail_file(n, fault, persist == 1)
          local j, wanted = core.journal(path), ""
          for i = 1, 3 do
            local ok = j and j:append("line " .. i)
            if ok then wanted = wanted .. "line " .. i .. "\n" end
          end
          core._fail_file(0)
          if j then j:close() end
          do
            local again <close> = assert(core.journal(path))
            assert(again:append("end"))
          end
          assert.are.equal(wanted .. "end\n", help.read(path), fault .. n)
          if fault == "short" then assert.are.equal("line 1\nline 2\nline 3\n", wanted) end
        end
      end
    end
  end)

  it("says what is wrong with a path", function()
    help.refuses("No such file", core.journal(dir .. "/none/journal"))
    help.refuses("not a regular file", core.journal("/dev/full"))
    assert.is_nil((core.journal(dir)))
    help.raises("path", core.journal, "")
    help.raises("path", core.journal, "a\0b")
  end)

  it("survives failing allocations", function()
    assert(help.fail_allocations(function()
      local j, message = core.journal(path)
      if not j then error(message) end
      local ok = j:append("x")
      j:close()
      return ok
    end) > 1)
  end)
end)
