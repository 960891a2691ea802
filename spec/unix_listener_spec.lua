-- UnixListener and UnixSocket: paths and what may lie there already, accepting, the wrong kind of socket.
local leaks = require "spec.support.leaks"
local process = require "spec.support.process"
local program = require "spec.support.program"
local tcp = require "spec.support.tcp"
local tcpnet = require "tcpnet"

local fails, in_task, waits = tcp.fails, tcp.in_task, tcp.waits
local SocketAddr, UnixDatagram = tcpnet.SocketAddr, tcpnet.UnixDatagram
local UnixListener, UnixSocket, UnixStream = tcpnet.UnixListener, tcpnet.UnixSocket, tcpnet.UnixStream

local folder, count = nil, 0

local function new_path()
  count = count + 1
  return ("%s/%d"):format(folder, count)
end

local function exists(path)
  return tcp.can(("test -e '%s' || test -h '%s'"):format(path, path)) == true
end

local function is_socket(path)
  return tcp.can(("test -S '%s'"):format(path))
end

local function with_folder()
  setup(function() folder = program.folder() end)
  teardown(function() getmetatable(folder).__close(folder) end)
  before_each(leaks.note)
  after_each(leaks.check)
end

local is_root = tcp.can "test $(id -u) = 0"

-- child(source) → output of a script that runs as somebody who may not do everything; nil, why where that cannot be.
local function unprivileged(source)
  if not is_root then
    return tcp.child(source)
  end
  local prefix = "setpriv --reuid=65534 --regid=65534 --clear-groups "
  if not tcp.can(prefix .. "test -r lua/tcpnet/init.lua") then
    return nil, "setpriv is not there, or nobody else may read this directory"
  end
  return tcp.child(source, "chmod 644 $SCRIPT; exec " .. prefix .. [["$LUA" "$SCRIPT"]])
end

describe("UnixListener.bind", function()
  with_folder()

  it("makes a socket file, and leaves it behind when it closes", in_task(function()
    local path = new_path()
    local listener = assert(UnixListener.bind(path))
    assert.is_true(is_socket(path))
    assert.equal(path, listener:local_addr():path())
    assert.equal(("UnixListener (%s, fd %d)"):format(path, listener:fd()), tostring(listener))
    assert.is_true(listener:is_listener())
    listener:close()
    assert.is_true(is_socket(path))
    assert.matches("closed", tostring(listener))
    fails("ECONNREFUSED", UnixStream.connect(path))
  end))

  it("takes a SocketAddr (B65)", in_task(function()
    local addr = assert(SocketAddr.unix(new_path()))
    local listener <close> = assert(UnixListener.bind(addr))
    assert.equal(addr, listener:local_addr())
  end))

  it("is EADDRINUSE where there is a file, whatever it is, and the error names it", in_task(function()
    local path = new_path()
    local first <close> = assert(UnixListener.bind(path))
    local err = fails("EADDRINUSE", UnixListener.bind(path))
    assert.same({ "bind", path }, { err.op, err.address })
    first:close()
    fails("EADDRINUSE", UnixListener.bind(path))
    fails("EADDRINUSE", UnixListener.bind(program.write(new_path(), "text")))
    fails("EADDRINUSE", UnixListener.bind(tostring(folder)))
  end))

  it("is ENOENT or ENOTDIR where there is no directory", in_task(function()
    fails("ENOENT", UnixListener.bind(new_path() .. "/below"))
    fails("ENOTDIR", UnixListener.bind(program.write(new_path(), "text") .. "/below"))
    fails("ENOENT", UnixListener.bind(new_path() .. "/below", { unlink = true }))
  end))

  it("refuses what does not fit and what has a NUL, rather than cut it", in_task(function()
    local room = 107 - #tostring(folder) - 1
    local longest = folder.path .. "/" .. ("x"):rep(room)
    assert.equal(107, #longest)
    local listener <close> = assert(UnixListener.bind(longest))
    assert.equal(longest, listener:local_addr():path())
    local client <close> = assert(UnixStream.connect(longest))
    assert.equal(longest, client:peer_addr():path())
    local err = fails("EINVAL", UnixListener.bind(longest .. "y"))
    assert.matches("longer than the system allows", tostring(err))
    assert.matches("NUL", tostring(fails("EINVAL", UnixListener.bind(new_path() .. "\0more"))))
    assert.matches("NUL", tostring(fails("EINVAL", UnixListener.bind "\0abstract")))
  end))

  it("takes abstract names of up to 107 bytes, which end with their socket (B69)", in_task(function()
    local name = ("@%s %d"):format(folder, os.time())
    name = name .. ("x"):rep(108 - #name)
    local listener = assert(UnixListener.bind(name))
    assert.equal(name, listener:local_addr():path())
    local client <close> = assert(UnixStream.connect(name))
    assert.equal(name, client:peer_addr():path())
    fails("EADDRINUSE", UnixListener.bind(name))
    fails("EADDRINUSE", UnixListener.bind(name, { unlink = true }))
    fails("EINVAL", UnixListener.bind(name .. "y"))
    listener:close()
    assert(UnixListener.bind(name)):close()
    local shorter <close> = assert(UnixListener.bind(name:sub(1, -2))) -- another name, not the same one
    assert.equal(107, #shorter:local_addr():path())
  end))

  it("without a name takes one that the system chooses", in_task(function()
    local listener <close> = assert(UnixListener.bind "")
    local name = listener:local_addr():path()
    assert.matches("^@%x+$", name)
    local client <close> = assert(UnixStream.connect(name))
    assert.equal(name, client:peer_addr():path())
  end))

  it("may not where the directory forbids it: EACCES", function()
    local path = new_path()
    assert(os.execute(("mkdir -m 755 '%s' && chmod 755 '%s'"):format(path, folder)))
    if not is_root then
      assert(os.execute(("chmod 555 '%s'"):format(path)))
    end
    local output, why = unprivileged(([[
      local path = %q
      print(tcpnet.UnixListener.bind(path .. "/x"))
      print(tcpnet.UnixListener.bind(path .. "/x", { unlink = true }))
      print(tcpnet.UnixDatagram.bind(path .. "/x"))
    ]]):format(path))
    if not output then
      pending(why)
      return
    end
    local line = ("nil\tbind %s/x: permission denied (EACCES)\n"):format(path)
    assert.equal(line:rep(3), output)
  end)

  it("may be refused to connect: EACCES, and unlink does not take such a socket for a stale one", in_task(function()
    local path = new_path()
    assert(os.execute(("mkdir -m 777 '%s' && chmod 777 '%s' && chmod 755 '%s'"):format(path, path, folder)))
    local listener <close> = assert(UnixListener.bind(path .. "/x"))
    assert(os.execute(("chmod 0 '%s/x'"):format(path)))
    local output, why = unprivileged(([[
      local path = %q
      print(tcpnet.UnixStream.connect(path))
      print(select(2, tcpnet.UnixListener.bind(path, { unlink = true })).code)
    ]]):format(path .. "/x"))
    if not output then
      pending(why)
      return
    end
    assert.equal(("nil\tconnect %s/x: permission denied (EACCES)\nEADDRINUSE\n"):format(path), output)
    assert.is_true(is_socket(path .. "/x"))
    fails("EAGAIN", listener:try_accept())
  end))

  it("takes options: backlog, buffers, nothing else", in_task(function()
    local listener <close> = assert(UnixListener.bind(new_path(), { backlog = 5, recv_buffer_size = 8192 }))
    assert.equal(16384, listener:recv_buffer_size())
    local function message(...)
      local ok, text = pcall(UnixListener.bind, ...)
      assert.is_false(ok)
      return text
    end
    local path = new_path()
    assert.matches("#1 to 'bind' %(string expected, got nil%)", message())
    assert.matches("#1 to 'bind' .*Unix socket expected", message(SocketAddr.new("::1", 1)))
    assert.matches("#2 to 'bind' %(table expected, got boolean%)", message(path, true))
    assert.matches("#2 to 'bind' %(unlink: boolean expected, got integer%)", (message(path, { unlink = 1 })
      :gsub("got number", "got integer")))
    assert.matches("#2 to 'bind' %(backlog: integer from 0 to 2147483647 expected, got %-1%)",
      message(path, { backlog = -1 }))
    assert.matches("#2 to 'bind' .*nodelay", message(path, { nodelay = true }))
    assert.matches("#2 to 'bind' .*timeout", message(path, { timeout = 1 }))
    assert.is_false(exists(path))
  end))
end)

describe("bind with unlink", function()
  with_folder()

  for class, bind in pairs { UnixListener = UnixListener.bind, UnixDatagram = UnixDatagram.bind } do
    describe("of a " .. class, function()
      it("binds where there is nothing", in_task(function()
        local path = new_path()
        local object <close> = assert(bind(path, { unlink = true }))
        assert.equal(path, object:local_addr():path())
      end))

      for stale, make in pairs { listener = UnixListener.bind, ["datagram socket"] = UnixDatagram.bind } do
        it("replaces the file of a " .. stale .. " that is gone (F51)", in_task(function()
          local path = new_path()
          assert(make(path)):close()
          fails("EADDRINUSE", bind(path))
          fails("EADDRINUSE", bind(path, { unlink = false }))
          local object <close> = assert(bind(path, { unlink = true }))
          assert.equal(path, object:local_addr():path())
          assert.is_true(is_socket(path))
        end))
      end

      it("replaces what a program left behind that was killed", in_task(function()
        local path = new_path()
        assert.equal("bound\n", tcp.child(([[
          print(tcpnet.UnixListener.bind(%q) and "bound")
          os.exit(true, false)
        ]]):format(path)))
        local object <close> = assert(bind(path, { unlink = true }))
        assert.is_false(object:closed())
      end))

      it("never replaces a live listener, and leaves nothing in its queue (F51)", in_task(function()
        local path = new_path()
        local live <close> = assert(UnixListener.bind(path, { backlog = 0 }))
        for _ = 1, 5 do
          local err = fails("EADDRINUSE", bind(path, { unlink = true }))
          assert.same({ "bind", path }, { err.op, err.address })
          assert.matches("live socket", tostring(err))
        end
        fails("EAGAIN", live:try_accept())
        local client <close> = assert(UnixStream.connect(path, { timeout = 5 }))
        local server <close> = assert(live:accept())
        client:write "x"
        assert.equal("x", server:read())
      end))

      it("never replaces a live datagram socket, and sends it nothing", in_task(function()
        local path = new_path()
        local live <close> = assert(UnixDatagram.bind(path))
        fails("EADDRINUSE", bind(path, { unlink = true }))
        fails("EAGAIN", live:try_recv())
        local sender <close> = assert(UnixDatagram.unbound())
        assert.equal(2, sender:send_to("on", path))
        assert.equal("on", live:recv())
      end))

      it("never replaces a datagram socket that talks to another one, nor one whose queue is full", in_task(function()
        local path = new_path()
        local live <close> = assert(UnixDatagram.bind(path))
        local sender <close> = assert(UnixDatagram.unbound())
        repeat until not sender:try_send_to("x", path)
        fails("EADDRINUSE", bind(path, { unlink = true }))
        local other <close> = assert(UnixDatagram.bind(new_path()))
        assert(live:connect(other:local_addr()))
        fails("EADDRINUSE", bind(path, { unlink = true }))
        assert.is_true(is_socket(path))
      end))

      it("never replaces a socket that is bound and not yet listening", in_task(function()
        local path = new_path()
        local early <close> = assert(assert(UnixSocket.new_stream()):bind(path))
        fails("EADDRINUSE", bind(path, { unlink = true }))
        local listener <close> = assert(early:listen())
        local client <close> = assert(UnixStream.connect(path))
        assert.is_false(client:closed())
        assert.is_truthy(listener:try_accept()):close()
      end))

      for what, make in pairs {
        ["a file"] = "echo text >",
        ["an empty file"] = ": >",
        ["a directory"] = "mkdir",
        ["a FIFO"] = "mkfifo",
        ["a symlink to nothing"] = "ln -s /nonexistent",
        ["a symlink to a file"] = "ln -s /etc/passwd",
        ["a symlink to a stale socket"] = "ln -s stale",
      } do
        it("never replaces " .. what, in_task(function()
          local path = new_path()
          local stale = folder.path .. "/stale"
          if not exists(stale) then
            assert(UnixListener.bind(stale)):close()
          end
          assert(os.execute(("%s '%s'"):format(make, path)))
          local before = select(2, program.shell(("ls -ldi '%s'"):format(path)))
          local err = fails("EADDRINUSE", bind(path, { unlink = true }))
          assert.matches("no socket", tostring(err))
          assert.equal(before, (select(2, program.shell(("ls -ldi '%s'"):format(path)))))
          assert.is_true(is_socket(stale))
        end))
      end
    end)
  end

  it("of a UnixSocket does the same", in_task(function()
    local path = new_path()
    local live <close> = assert(UnixListener.bind(path))
    local socket <close> = assert(UnixSocket.new_stream())
    fails("EADDRINUSE", socket:bind(path))
    fails("EADDRINUSE", socket:bind(path, { unlink = true }))
    live:close()
    assert.equal(socket, socket:bind(path, { unlink = true }))
    assert.equal(path, socket:local_addr():path())
    local another <close> = assert(UnixSocket.new_stream())
    assert.has_error(function() another:bind(path, { unlink = "yes" }) end)
    assert.has_error(function() another:bind(path, { backlog = 1 }) end)
  end))
end)

describe("UnixListener", function()
  with_folder()

  it("accept waits, gives the stream and the address of a client that has one (B71)", in_task(function()
    local path, client_path = new_path(), new_path()
    local listener <close> = assert(UnixListener.bind(path))
    local accepting = tcpnet.spawn(listener.accept, listener)
    tcpnet.sleep(0.01)
    assert.equal("waiting", accepting:status())
    local socket = assert(assert(UnixSocket.new_stream()):bind(client_path))
    local client <close> = assert(socket:connect(path))
    local ok, stream, addr = accepting:join(5)
    assert.is_true(ok)
    local server <close> = stream
    assert.equal(client_path, addr:path())
    assert.equal(client_path, server:peer_addr():path())
    assert.equal(path, server:local_addr():path())
    assert.equal(client_path, client:local_addr():path())
  end))

  it("accept can be cancelled and times out, and loses nothing", in_task(function()
    local path = new_path()
    local listener <close> = assert(UnixListener.bind(path))
    assert.is_true(waits(listener.accept, listener))
    listener:set_timeout(0.02)
    local err = fails("TIMEOUT", listener:accept())
    assert.equal("accept", err.op)
    listener:set_timeout()
    local client <close> = assert(UnixStream.connect(path))
    local server <close> = assert(listener:accept())
    client:write "x"
    assert.equal("x", server:read())
  end))

  it("several tasks accept, each one connection, in order", in_task(function()
    local path = new_path()
    local listener <close> = assert(UnixListener.bind(path))
    local order, tasks, all <close> = {}, {}, tcp.guard()
    for i = 1, 10 do
      tasks[i] = tcpnet.spawn(function()
        all[#all + 1] = assert(listener:accept())
        order[#order + 1] = i
      end)
    end
    tcpnet.yield()
    for _ = 1, 10 do
      all[#all + 1] = assert(UnixStream.connect(path))
      tcpnet.sleep(0.002)
    end
    for i = 1, 10 do
      assert.is_true(tasks[i]:join(5))
    end
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, order)
    fails("EAGAIN", listener:try_accept())
  end))

  it("try_accept never waits", in_task(function()
    local path = new_path()
    local listener <close> = assert(UnixListener.bind(path))
    fails("EAGAIN", listener:try_accept())
    local client <close> = assert(UnixStream.connect(path))
    local server <close>, from = assert(listener:try_accept())
    assert.is_true(from:is_unnamed())
    fails("EAGAIN", listener:try_accept())
    server:write "x"
    assert.equal("x", client:read())
  end))

  it("incoming iterates until the listener is closed", in_task(function()
    local path = new_path()
    local listener <close> = assert(UnixListener.bind(path))
    local server = tcpnet.spawn(function()
      local served = 0
      for stream, from in listener:incoming() do
        assert.is_true(from:is_unnamed())
        stream:write(stream:read_line(), "!")
        stream:close()
        served = served + 1
      end
      return served
    end)
    for i = 1, 5 do
      local client <close> = assert(UnixStream.connect(path))
      client:write(i, "\n")
      assert.equal(i .. "!", client:read_to_end())
    end
    listener:close()
    assert.same({ true, 5 }, { server:join(5) })
  end))

  it("a connection whose client has gone is accepted with what it sent (B65)", in_task(function()
    local path = new_path()
    local listener <close> = assert(UnixListener.bind(path))
    local client = assert(UnixStream.connect(path))
    client:write "hello"
    client:close()
    local server <close> = assert(listener:accept())
    assert.equal("hello", server:read_to_end())
    assert.same({ n = 1 }, table.pack(server:read()))
  end))

  it("set_accept_options are those of every stream that comes", in_task(function()
    local path = new_path()
    local listener <close> = assert(UnixListener.bind(path))
    assert.equal(listener, listener:set_accept_options { send_buffer_size = 8192 })
    local client <close> = assert(UnixStream.connect(path))
    local server <close> = assert(listener:accept())
    assert.equal(16384, server:send_buffer_size())
    assert.are_not.equal(16384, client:send_buffer_size())
    local ok, message = pcall(function() listener:set_accept_options { nodelay = true } end)
    assert.is_false(ok)
    assert.matches("nodelay", message)
  end))

  it("a listener that closes ends the waits, and those in its queue see the end or a reset", in_task(function()
    local path = new_path()
    local listener = assert(UnixListener.bind(path))
    local accepting = tcpnet.spawn(listener.accept, listener)
    tcpnet.yield()
    listener:close()
    local ok, stream, err = accepting:join(5)
    assert.is_true(ok)
    fails("CLOSED", stream, err)
    fails("CLOSED", listener:try_accept())
    local second = assert(UnixListener.bind(path, { unlink = true }))
    local client <close> = assert(UnixStream.connect(path))
    second:close()
    local bytes, reset = client:read()
    assert.is_nil(bytes)
    assert.is_truthy(reset == nil or reset.code == "ECONNRESET")
  end))

  it("from_fd takes over what into_fd gave up, and nothing that does not listen", in_task(function()
    local path = new_path()
    local listener = assert(UnixListener.bind(path))
    local client <close> = assert(UnixStream.connect(path))
    fails("EBUSY", UnixListener.from_fd(listener:fd()))
    local again <close> = assert(UnixListener.from_fd((listener:into_fd())))
    fails("CLOSED", listener:accept())
    local server <close> = assert(again:accept())
    assert.equal(path, server:local_addr():path())
    local fd = client:into_fd()
    fails("EINVAL", UnixListener.from_fd(fd))
    assert(UnixStream.from_fd(fd)):close()
    local over_tcp = tcp.listener()
    fd = over_tcp:into_fd()
    fails("EINVAL", UnixListener.from_fd(fd))
    assert(tcpnet.TcpListener.from_fd(fd)):close()
  end))

  it("take_error has nothing to tell, and the misuses raise", in_task(function()
    local listener <close> = assert(UnixListener.bind(new_path()))
    assert.same({ n = 1 }, table.pack(listener:take_error()))
    assert.has_error(function() UnixListener.accept(tcpnet) end)
    assert.has_error(function() UnixListener.incoming {} end)
  end))

  describe("out of descriptors:", function()
    local FEW = [[ulimit -S -n 40; exec "$LUA" "$SCRIPT"]]

    -- The clients' half of the connections is in a process that has descriptors enough.
    local CROWD = [[
      local path = PATH
      local listener = assert(tcpnet.UnixListener.bind(path))
      local crowd = assert(io.popen(("ulimit -S -n 200; exec '%s' '%s' '%s'"):format(LUA, CLIENT, path)))
      assert(crowd:read "l" == "ready")
      local held, released = {}, false
      local function let_go()
        for i, stream in ipairs(held) do
          stream:close()
          held[i] = nil
        end
      end
    ]]
    local CLIENT = [[
      local tcpnet = require "tcpnet"
      local all = {}
      for i = 1, 60 do
        all[i] = assert(tcpnet.UnixStream.connect(arg[1]))
      end
      print "ready"
      io.stdout:flush()
      for i = 1, 60 do
        all[i]:read()
      end
    ]]

    local function child(source)
      local path = new_path()
      local client = program.write(new_path(), CLIENT)
      return tcp.child(("local LUA, PATH, CLIENT = %q, %q, %q\n"):format(program.interpreter, path, client)
        .. CROWD .. source, FEW)
    end

    it("accept is EMFILE once, then pauses without spinning, and nothing is lost", function()
      local output = child [[
        tcpnet.run(function()
          local errors, seen, polls = 0, 0, 0
          while seen < 60 do
            local stream, err = listener:accept()
            if stream then
              seen = seen + 1
              held[#held + 1] = stream
            else
              assert(err.code == "EMFILE", tostring(err))
              errors = errors + 1
              if errors == 1 then
                local before, cpu = tcpnet.metrics().polls, os.clock()
                tcpnet.spawn(function()
                  tcpnet.sleep(0.35)
                  polls = tcpnet.metrics().polls - before
                  released = os.clock() - cpu < 0.2
                  let_go()
                end)
              elseif released then
                let_go()
              end
            end
          end
          print(errors >= 1 and errors <= 10 and "few errors" or errors, polls < 60 and "no spinning" or polls)
          print(seen, released)
          let_go()
        end)
      ]]
      assert.equal("few errors\tno spinning\n60\ttrue\n", output)
    end)

    it("incoming waits it out", function()
      local output = child [[
        tcpnet.run(function()
          tcpnet.spawn(function()
            while true do
              tcpnet.sleep(0.05)
              let_go()
            end
          end)
          local seen = 0
          for stream in listener:incoming() do
            held[#held + 1] = stream
            seen = seen + 1
            if seen == 60 then
              break
            end
          end
          print(seen)
          let_go()
        end)
      ]]
      assert.equal("60\n", output)
    end)

    it("pair, connect and bind are EMFILE, returned, and bind leaves no file", function()
      local path = new_path()
      local output = tcp.child(([[
        local path, sockets = %q, {}
        while true do
          local socket, err = tcpnet.UnixSocket.new_stream()
          if not socket then
            print(err.code)
            break
          end
          sockets[#sockets + 1] = socket
        end
        for _, fails in ipairs {
          function() return tcpnet.UnixStream.pair() end,
          function() return tcpnet.UnixDatagram.pair() end,
          function() return tcpnet.UnixDatagram.unbound() end,
          function() return tcpnet.UnixStream.connect(path) end,
          function() return tcpnet.UnixListener.bind(path) end,
          function() return tcpnet.UnixDatagram.bind(path) end,
        } do
          print(select(2, fails()).code)
        end
      ]]):format(path), FEW)
      assert.equal(("EMFILE\n"):rep(7), output)
      assert.is_false(exists(path))
    end)
  end)
end)

describe("UnixSocket", function()
  with_folder()

  it("listens and connects, bound on both sides: address, data, end (B71)", in_task(function()
    local path, client_path = new_path(), new_path()
    local socket = assert(UnixSocket.new_stream())
    assert.equal(socket, socket:bind(path))
    local listener <close> = assert(socket:listen(128))
    assert.matches("^UnixListener", tostring(listener))
    assert.is_true(socket:closed())
    assert.matches("%(consumed%)", tostring(socket))
    fails("CLOSED", socket:bind(path))
    local client = assert(assert(assert(UnixSocket.new_stream()):bind(client_path)):connect(path))
    assert.matches("^UnixStream", tostring(client))
    local server <close>, from = assert(listener:accept())
    assert.equal(client_path, from:path())
    assert.equal(client_path, server:peer_addr():path())
    client:write "hello"
    client:close()
    assert.equal("hello", server:read_to_end())
    assert.same({ n = 1 }, table.pack(server:read()))
  end))

  it("of the wrong kind: an error that names the call and the kind (B72)", in_task(function()
    local path = new_path()
    local _listener <close> = assert(UnixListener.bind(path))
    local datagram <close> = assert(UnixSocket.new_datagram())
    local stream <close> = assert(UnixSocket.new_stream())
    for _, case in ipairs {
      { datagram, "connect", "datagram", path },
      { datagram, "listen", "datagram", 5 },
      { stream, "datagram", "stream" },
    } do
      local socket, method, kind, argument = table.unpack(case)
      local err = fails("EINVAL", socket[method](socket, argument))
      assert.equal(method, err.op)
      assert.matches(("^%s: cannot be called on a %s socket"):format(method, kind), tostring(err))
      assert.is_false(socket:closed())
    end
  end))

  it("datagram makes a UnixDatagram, with the path that it was bound to, abstract ones too", in_task(function()
    for _, name in ipairs { new_path(), "@" .. new_path() } do
      local socket = assert(assert(UnixSocket.new_datagram()):bind(name))
      local datagram <close> = assert(socket:datagram())
      assert.matches("^UnixDatagram", tostring(datagram))
      assert.is_true(socket:closed())
      fails("CLOSED", socket:datagram())
      assert.equal(name, datagram:local_addr():path())
      local sender <close> = assert(UnixDatagram.unbound())
      sender:send_to("x", name)
      assert.equal("x", datagram:recv())
    end
  end))

  it("a failed connect closes it, a failed bind or listen does not", in_task(function()
    local path = new_path()
    local socket = assert(UnixSocket.new_stream())
    fails("EINVAL", socket:listen())
    assert.is_false(socket:closed())
    local file = program.write(new_path(), "text")
    fails("EADDRINUSE", socket:bind(file))
    assert.is_false(socket:closed())
    local err = fails("ENOENT", socket:connect(path))
    assert.equal(path, err.address)
    assert.is_true(socket:closed())
    fails("CLOSED", socket:connect(path))
    fails("CLOSED", socket:listen())
    fails("CLOSED", socket:bind(path))
  end))

  it("connect takes a timeout and options", in_task(function()
    local path = new_path()
    local listener <close> = assert(UnixListener.bind(path, { backlog = 0 }))
    local first = assert(UnixSocket.new_stream())
    local client <close> = assert(first:connect(path, { send_buffer_size = 8192 }))
    assert.equal(16384, client:send_buffer_size())
    local second = assert(UnixSocket.new_stream())
    local err = fails("TIMEOUT", second:connect(path, { timeout = 0.03 }))
    assert.equal("connect", err.op)
    assert.is_true(second:closed())
    assert(listener:accept()):close()
    local third <close> = assert(UnixSocket.new_stream())
    assert.has_error(function() third:connect(path, { nodelay = true }) end)
    assert.has_error(function() third:connect(path, { timeout = "1" }) end)
    assert.has_error(function() third:connect() end)
    assert.has_error(function() UnixSocket.connect(listener, path) end)
    assert.has_error(function() UnixSocket.listen(third, -1) end)
  end))

  it("binds a second time not at all", in_task(function()
    local socket <close> = assert(assert(UnixSocket.new_stream()):bind(new_path()))
    local path = new_path()
    fails("EINVAL", socket:bind(path))
    fails("EINVAL", socket:bind(path, { unlink = true }))
    assert.is_false(exists(path))
  end))

  it("from_fd takes any Unix socket", in_task(function()
    local datagram = assert(UnixDatagram.unbound())
    local socket <close> = assert(UnixSocket.from_fd((datagram:into_fd())))
    assert.equal("dgram", socket:type())
    local client, _, _guard <close> = tcp.pair()
    local fd = client:into_fd()
    fails("EINVAL", UnixSocket.from_fd(fd))
    assert(tcpnet.TcpStream.from_fd(fd)):close()
  end))
end)

describe("listen_fds", function()
  with_folder()

  it("takes over the Unix sockets of systemd-socket-activate too", function()
    if not tcp.can "command -v systemd-socket-activate" then
      pending "systemd-socket-activate is not there"
      return
    end
    local path = new_path()
    local script = program.write(new_path(), [[
      io.stdout:setvbuf "line"
      local tcpnet = require "tcpnet"
      local listeners = assert(tcpnet.listen_fds())
      for _, listener in ipairs(listeners) do
        print("has " .. tostring(listener))
      end
      local stream <close> = assert(listeners[1]:accept())
      assert(stream:write("got ", assert(stream:read_line()), "\n"))
    ]])
    local options = {}
    for _, name in ipairs { "LUA_PATH", "LUA_PATH_5_4", "LUA_CPATH", "LUA_CPATH_5_4", "ASAN_OPTIONS" } do
      if os.getenv(name) then
        table.move({ "-E", name }, 1, 2, #options + 1, options)
      end
    end
    if os.getenv "LD_PRELOAD" then
      table.move({ "-E", "LD_PRELOAD=" .. os.getenv "LD_PRELOAD" }, 1, 2, #options + 1, options)
    end
    table.move({ process.interpreter, script }, 1, 2, #options + 1, options)
    local port = process.free_port()
    local server <close> = process.start("systemd-socket-activate", "-l", path, "-l", "127.0.0.1:" .. port,
      table.unpack(options))
    server:expect "[Ll]istening on"
    server:expect "[Ll]istening on"
    local stream <close> = assert(UnixStream.connect(path, { timeout = 10 }))
    stream:write "hello\n"
    assert.equal("got hello", stream:read_line())
    assert.is_nil(stream:read())
    local code, output = server:wait()
    assert.equal(0, code, output)
    assert.matches("has UnixListener (" .. path .. ", fd 3)\n", output, 1, true)
    assert.matches("has TcpListener (127.0.0.1:" .. port .. ", fd 4)\n", output, 1, true)
  end)
end)
