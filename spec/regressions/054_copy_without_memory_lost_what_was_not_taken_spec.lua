-- Where the writer took a part and there was no memory to keep the rest, copy went on and lost that, and said that all
-- was well. Needs the build with faults.
local program = require "spec.support.program"

describe("copy to a writer that takes a part", function()
  it("loses nothing where there is no memory for the rest", function()
    local _, output = program.faults [[
      local tcpnet = require "tcpnet"
      local fault = tcpnet.private.fault
      local all = ("x"):rep(65536) .. ("y"):rep(1000)
      tcpnet.run(function()
        local listener <close> = tcpnet.TcpListener.bind "127.0.0.1:0"
        local struck = 0
        for nth = 1, 4 do
          local a = assert(tcpnet.TcpStream.connect(listener:local_addr(), { send_buffer_size = 1 << 20 }))
          local from = listener:accept()
          local to, b = tcpnet.UnixStream.pair()
          assert(a:write(all))
          a:shutdown()
          local sink = tcpnet.spawn(b.read_to_end, b)
          fault("send", 1, 1, "short")
          fault("malloc", nth, 3, "ENOMEM")
          local count, err = tcpnet.copy(from, to)
          struck = struck + (fault() > 1 and 1 or 0)
          local rest = from:read_to_end()
          to:shutdown()
          local came = select(2, sink:join())
          assert(came .. rest == all, ("%d came, %d are left"):format(#came, #rest))
          assert(count == #came or not count and err.code == "ENOMEM", tostring(err))
          for _, stream in ipairs { a, from, to, b } do stream:close() end
        end
        print(struck > 0 and "nothing lost")
      end) ]]
    assert.equal("nothing lost\n", output)
  end)
end)

describe("a line that has not come whole", function()
  it("stays readable where there is no memory to keep it", function()
    local _, output = program.faults [[
      local tcpnet = require "tcpnet"
      local fault = tcpnet.private.fault
      tcpnet.run(function()
        local stream, peer = tcpnet.UnixStream.pair()
        peer:write "half a "
        fault("malloc", 1, 2, "ENOMEM")
        local line, err = stream:read_line()
        print(line, err.code, fault())
        peer:write "line\nmore"
        print(stream:read_line(), stream:read(10))
      end) ]]
    assert.matches("^nil\tENOMEM\t1\t.*\nhalf a line\tmore\n$", output)
  end)
end)
