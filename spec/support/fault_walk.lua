-- Walks every method of every class that has a descriptor, and what else makes system calls: each call that a method
-- makes fails once, at each place, in each way that it can. Needs the build with faults; fault_calls.lua says how to
-- call each method. Prints what went wrong, and last how much was tried.
local tcpnet = require "tcpnet"
local walk = require "spec.support.walk"
local lfs = require "lfs"

local fault, hold = tcpnet.private.fault, tcpnet.private.fault_hold
walk.hold = hold

-- What a call may answer. "unnoticed": the script sees no difference at all. "fails": it gets that code.
local answers = {
  socket = { fails = "EMFILE ENFILE ENOBUFS EACCES" },
  socketpair = { fails = "EMFILE ENFILE" },
  bind = { fails = "EADDRINUSE EACCES ENOMEM" },
  listen = { fails = "EADDRINUSE" },
  connect = { unnoticed = "EINTR EAGAIN", fails = "ECONNREFUSED EADDRNOTAVAIL ENETUNREACH ETIMEDOUT" },
  accept4 = { unnoticed = "EINTR EAGAIN ECONNABORTED EPROTO ENETDOWN EHOSTUNREACH", fails = "EMFILE" },
  shutdown = { fails = "ENOBUFS" },
  close = { unnoticed = "EINTR EIO" },
  getsockname = { fails = "ENOBUFS" },
  getpeername = { fails = "ENOBUFS" },
  getsockopt = { fails = "ENOBUFS" },
  setsockopt = { fails = "ENOMEM" },
  poll = { unnoticed = "EINTR", fails = "ENOMEM" },
  fcntl = { fails = "EMFILE" },
  recv = { unnoticed = "EINTR EAGAIN short", fails = "ECONNRESET ETIMEDOUT ENOMEM" },
  recvfrom = { unnoticed = "EINTR EAGAIN short", fails = "ECONNREFUSED ENOMEM" },
  recvmsg = { unnoticed = "EINTR EAGAIN short", fails = "ECONNRESET EMFILE ENOMEM" },
  recvmmsg = { unnoticed = "EINTR EAGAIN short", fails = "ECONNREFUSED ENOMEM" },
  send = { unnoticed = "EINTR EAGAIN short", fails = "EPIPE ECONNRESET ENOBUFS" },
  sendto = { unnoticed = "EINTR EAGAIN short", fails = "ECONNREFUSED ENOBUFS EMSGSIZE" },
  sendmsg = { unnoticed = "EINTR EAGAIN short", fails = "EPIPE ECONNRESET ENOBUFS" },
  sendmmsg = { unnoticed = "EINTR EAGAIN short", fails = "ECONNREFUSED ENOBUFS" },
  sendfile = { unnoticed = "EINTR EAGAIN short", fails = "EPIPE EIO ENOMEM" },
  splice = { unnoticed = "EINTR EAGAIN short EINVAL", fails = "ECONNRESET ENOMEM" },
  pipe2 = { fails = "EMFILE ENFILE" },
  open = { unnoticed = "EINTR", fails = "ENOENT EMFILE ENXIO" },
  fstat = { fails = "EIO" },
  lstat = { fails = "EACCES" },
  readv = { unnoticed = "EINTR EAGAIN short", fails = "EIO ENOMEM" },
  writev = { unnoticed = "EINTR EAGAIN short", fails = "EPIPE EIO" },
  read = { unnoticed = "EINTR" },
  write = { unnoticed = "EINTR EAGAIN", fails = "EIO" },
  epoll_create1 = { fails = "EMFILE ENFILE ENOMEM" },
  epoll_ctl = { fails = "ENOMEM ENOSPC" },
  epoll_wait = { unnoticed = "EINTR short", fails = "EBADF" },
  eventfd = { fails = "EMFILE ENFILE ENOMEM" },
  kill = { fails = "EPERM" },
  waitpid = { unnoticed = "EINTR ECHILD" },
  sigaction = { unnoticed = "EINVAL" },
  mmap = { fails = "ENOMEM" },
  pthread_create = { fails = "EAGAIN" },
  getifaddrs = { fails = "ENOMEM" },
  if_nametoindex = { fails = "ENODEV" },
  getaddrinfo = { fails = "ENOMEM" },
  malloc = { fails = "ENOMEM" },
  calloc = { fails = "ENOMEM" },
  realloc = { fails = "ENOMEM" },
  free = {},
}
-- Calls with a result that is not an errno: what the script gets in the end.
local becomes = { pthread_create = "ENOMEM", getaddrinfo = "EAI_AGAIN", ["recv_fd realloc"] = "EMFILE" }
-- Where a failure need not be told, for there is another way, or nobody to tell: a call, or "method call".
local optional = {}
for name in ([[
  malloc, calloc, realloc, epoll_wait
  options getsockopt
  close shutdown, close kill
  accept setsockopt
  incoming accept4, incoming epoll_ctl, send_many getsockopt, try_send_many getsockopt
  reset connect
  bind getsockname
  connect getpeername
  connect getsockopt, connect_timeout getpeername, connect_timeout getsockopt
  into_tcp_stream getpeername, into_unix_stream getpeername
  listen getsockopt, datagram getsockopt
  copy fcntl, copy pipe2, copy_bidirectional fcntl, copy_bidirectional pipe2
  sendfile poll, copy poll, copy_bidirectional poll
]]):gmatch "%s*([^,\n]+)" do
  optional[name] = true
end

-- cases -------------------------------------------------------------------------------------------

local EVERY = 1 << 30

local function call_with_faults(case, what, ...)
  local injection = case.injection
  fault()
  if injection then
    fault(injection.call, injection.nth, injection.times, injection.answer)
  end
  hold(false)
  case.result = table.pack(pcall(what, ...))
  hold(true)
  case.struck, case.counts = fault()
end

-- judging -----------------------------------------------------------------------------------------

local function is_right(case, plain, kind, how, what)
  local injection, entry = case.injection, case.entry
  local same = how == plain.how and what == plain.what
  if case.struck == 0 then
    return same or entry.partial
  elseif kind == "unnoticed" then
    local again = injection.answer == "EAGAIN" and case.name:find "^try_" and how == "fails" and what == "EAGAIN"
    return same or again or entry.partial and injection.answer == "short" and how == "value"
  end
  local place = case.name .. " " .. injection.call
  local expected = becomes[injection.call] or injection.answer
  local told = (how == "fails" or entry.raises and how == "raises") and (what == expected or what == becomes[place])
  local no_memory = expected == "ENOMEM" and how == "raises" and what:find "memory"
  return told or no_memory or same and (optional[injection.call] or optional[place] or entry.optional == injection.call)
end

-- walking -----------------------------------------------------------------------------------------

local tried, complaints = 0, 0
local trace = os.getenv "TCPNET_TRACE"

local function complain(case, message, ...)
  local injection = case.injection
  local where = injection and ("%s number %d of %s: "):format(injection.call, injection.nth, injection.answer) or ""
  print(("%s.%s%s: %s%s"):format(case.class, case.name, case.later and " that waits" or "", where,
    message:format(...)))
  complaints = complaints + 1
end

local function descriptors()
  local open = {}
  for name in lfs.dir "/proc/self/fd" do
    open[#open + 1] = name
  end
  return #open
end

local function settle()
  collectgarbage()
  collectgarbage()
  tcpnet.sleep(0)
  return descriptors(), tcpnet.metrics().sources
end

local function attempt(class, name, fn, entry, later, injection, kind, plain)
  local case = walk.case(class, name, fn, entry, later, call_with_faults)
  case.injection = injection
  if trace then
    io.stderr:write(class, ".", name, later and " later " or " ", injection and injection.call or "", " ",
      injection and injection.nth or "", " ", injection and injection.answer or "", "\n")
  end
  tried = tried + 1
  local ok, err = walk.run(case)
  if not ok then
    complain(case, "%s", err)
    return case
  end
  local how, what = walk.outcome(case.result)
  if plain and not is_right(case, plain, kind, how, what) then
    complain(case, "%s %s, not %s %s", how, what, plain.how, plain.what)
  end
  case.how, case.what = how, what
  return case
end

local function walk_call(class, name, fn, entry, later, plain, call)
  local rows = answers[call]
  for _, kind in ipairs { "unnoticed", "fails" } do
    for answer in (rows[kind] or ""):gmatch "%S+" do
      local nth = 0
      repeat
        nth = nth + 1
        local case = attempt(class, name, fn, entry, later,
          { call = call, nth = nth, times = 1, answer = answer }, kind, plain)
      until case.struck == 0 or case.struck == nil or nth == 100
      if answer == "short" and not entry.long then
        attempt(class, name, fn, entry, later, { call = call, nth = 1, times = EVERY, answer = answer }, kind, plain)
      end
    end
  end
end

local function walk_method(class, name, fn, entry)
  for _, later in ipairs { false, entry.later or nil } do
    local open, sources = settle()
    local plain = attempt(class, name, fn, entry, later)
    if plain.how then
      if plain.how ~= "value" and not entry.may_fail then
        complain(plain, "%s %s where nothing was made to fail", plain.how, plain.what)
      end
      local names = {}
      for call, count in pairs(plain.counts) do
        names[#names + 1] = count > 0 and call or nil
      end
      table.sort(names)
      for _, call in ipairs(names) do
        walk_call(class, name, fn, entry, later, plain, call)
      end
    end
    local open_now, sources_now = settle()
    for _ = 1, 50 do
      if open_now <= open then
        break
      end
      tcpnet.sleep(0.01)
      open_now, sources_now = settle()
    end
    if open_now > open or sources_now > sources then
      complain(plain, "%d descriptors and %d sources are left", open_now - open, sources_now - sources)
    end
  end
end

local function walk_class(class, methods, wanted)
  local missing = walk.methods(class, methods, wanted, function(name, fn, entry)
    local started = tcpnet.now()
    walk_method(class, name, fn, entry)
    if trace then
      io.stderr:write(("%s.%s: %.2f s\n"):format(class, name, tcpnet.now() - started))
    end
  end)
  for _, name in ipairs(missing) do
    print(("%s.%s has no entry in fault_calls.lua"):format(class, name))
    complaints = complaints + 1
  end
end

-- The calls of the build and the rows above are the same.
local function check_answers()
  local _, counts = fault()
  for name in pairs(counts) do
    assert(answers[name], name .. " has no row of answers")
  end
  for name in pairs(answers) do
    assert(counts[name], name .. " is no call that can fail")
  end
end

local wanted_class, wanted_name = table.unpack(arg)
check_answers()
tcpnet.run(function()
  walk.classes(wanted_class, function(class, methods) walk_class(class, methods, wanted_name) end)
end)
print(("%d cases, %d complaints"):format(tried, complaints))
