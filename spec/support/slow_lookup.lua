-- What a slow name server does: scripts run with a getaddrinfo of our own.
local program = require "spec.support.program"

-- "slow300" needs as many milliseconds, and is 127.0.0.1; "both" is ::1 and 127.0.0.1.
local source = [[
  #define _GNU_SOURCE
  #include <dlfcn.h>
  #include <errno.h>
  #include <netdb.h>
  #include <stdlib.h>
  #include <string.h>
  #include <unistd.h>
  int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                  struct addrinfo **result) {
    __typeof__(getaddrinfo) *real = (__typeof__(getaddrinfo) *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (strncmp(host, "slow", 4) == 0) {
      usleep((unsigned)atoi(host + 4) * 1000);
      host = "127.0.0.1";
    }
    if (strcmp(host, "odd") == 0) {
      return -12345;
    }
    if (strcmp(host, "full") == 0 || strcmp(host, "again") == 0) {
      errno = strcmp(host, "full") == 0 ? EMFILE : EAGAIN;
      return EAI_SYSTEM;
    }
    if (strcmp(host, "twice") == 0) {
      int error = real("127.0.0.3", service, hints, result);
      return error ? error : real("127.0.0.3", service, hints, &(*result)->ai_next);
    }
    if (strcmp(host, "both") == 0 && hints->ai_family == AF_UNSPEC) {
      int error = real("::1", service, hints, result);
      return error ? error : real("127.0.0.1", service, hints, &(*result)->ai_next);
    }
    return real(strcmp(host, "fast") == 0 ? "127.0.0.2" : host, service, hints, result);
  }
]]

local slow_lookup = {}

-- library(folder) → path of what is preloaded; nil where there is no compiler.
function slow_lookup.library(folder)
  return (program.c(folder, "slow.so", source, "-shared -fPIC -ldl"))
end

-- run(folder, library, text) → exit code, output of a script of that text.
function slow_lookup.run(folder, library, text)
  local code, output = program.shell(program.preloaded(program.write(folder.path .. "/script.lua", text), library))
  return code, (output:gsub("ERROR: ld%.so: object [^\n]*ignored%.\n", "")) -- an emulator cannot load it, and says so
end

-- outcome(text) → { exit code, output } of one that needs nothing else; nil where there is no compiler.
function slow_lookup.outcome(text)
  local folder <close> = program.folder()
  local library = slow_lookup.library(folder)
  return library and { slow_lookup.run(folder, library, text) }
end

return slow_lookup
