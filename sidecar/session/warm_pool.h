// Connections to servers that outlive their session, for the next session that would open the same.
//
// A log-in costs the server a process and both sides SCRAM's iterations, so a connection whose session ended in order
// is reset (DISCARD ALL), asked whether nothing is left, and kept for a while. It serves only a session whose start-up
// would have been the same to the last byte: same server, database, user, password, role and settings. What the
// database shows as application_name is set anew for each session.
//
// Only sessions that ran nothing but statements whose every effect is known come here: code that analysis does not look
// into may leave things behind that DISCARD ALL does not know of (a library's variables, connections of dblink).
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "sidecar/reactor/event_loop.h"
#include "sidecar/session/upstream.h"

namespace postern::session {

struct WarmLimits {
  // Idle connections kept by one event loop; 0: none.
  size_t connections = 8;
  // How long one waits for its next session. DDL that needs the database for itself waits as long.
  absl::Duration idle = absl::Seconds(30);
  // None is used for longer than this: changes of the server's roles and passwords reach it by then.
  absl::Duration age = absl::Minutes(10);
};

// application_name of connections in between two sessions, and until a session's own is set.
inline constexpr std::string_view kNeutralApplicationName = "postern";

// Belongs to its event loop's thread.
class WarmPool {
 public:
  // `loop` is not owned and outlives the pool.
  WarmPool(reactor::EventLoop& loop, WarmLimits limits) : loop_(loop), limits_(limits) {}
  WarmPool(const WarmPool&) = delete;
  WarmPool& operator=(const WarmPool&) = delete;

  // Equal for two requests that would open equal connections. Holds a digest of the password.
  static std::string KeyOf(const UpstreamRequest& request);

  // The connection that came last, if there is one for `key`. Its `parameters` are as after a log-in.
  std::optional<UpstreamConnection> Take(const std::string& key);
  // Takes an idle connection outside any transaction, whose server owes no answer; its `warm_key` is that of the
  // request that opened it. Kept if it can be reset, closed otherwise.
  void Return(UpstreamConnection connection);
  // Closes what is idle.
  void Clear();
  size_t size() const { return idle_.size(); }

 private:
  struct Idle {
    uint64_t id = 0;
    UpstreamConnection connection;
    reactor::EventLoop::TimerId timer;
  };

  static reactor::Task<void> Reset(WarmPool* pool, UpstreamConnection connection);
  void Keep(UpstreamConnection connection);
  void Drop(uint64_t id);

  reactor::EventLoop& loop_;
  const WarmLimits limits_;
  std::list<Idle> idle_;  // latest first
  size_t resetting_ = 0;
  uint64_t next_id_ = 1;
};

}  // namespace postern::session
