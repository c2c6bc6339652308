// All live sessions of this sidecar: who holds which cancel key, who must end when a grant is revoked, how many there
// may be.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/random.h"
#include "postern/v1/session.pb.h"
#include "sidecar/wire/build.h"

namespace postern::session {

// How a session ends. `fatal` goes to the client when it has a message.
struct Ending {
  std::string reason;  // Session.end_reason: "client", "revoked", "expired", "killed", "upstream", "drain"…
  wire::ErrorFields fatal = {};
};

// A session, as other threads see it. Both calls return at once; the session's own loop acts.
class SessionControl {
 public:
  virtual ~SessionControl() = default;
  virtual void EndSoon(Ending ending) = 0;
  // The client's CancelRequest.
  virtual void CancelSoon() = 0;
  // Ends the session when it has nothing under way, at once or after its current transaction.
  virtual void DrainSoon(Ending ending) = 0;
};

struct RegistryLimits {
  int sessions = 1000;
  int sessions_per_agent = 50;
};

// Thread-safe.
class Registry {
 public:
  static constexpr size_t kShortSecret = 4;
  static constexpr size_t kLongSecret = 32;

  Registry(RegistryLimits limits, Random& random) : limits_(limits), random_(random) {}

  struct CancelKey {
    uint32_t process_id = 0;
    std::string secret;
  };

  // Takes a place for `session` of `agent` and gives it a cancel key of its own: random, and nothing to the server.
  // `secret_bytes`: 4 for a client of protocol 3.0, up to 256 for one of 3.2.
  //   RESOURCE_EXHAUSTED/TOO_MANY_SESSIONS, TOO_MANY_SESSIONS_OF_AGENT.
  absl::StatusOr<CancelKey> Add(const v1::Session& session, std::weak_ptr<SessionControl> control,
                                size_t secret_bytes = kShortSecret);
  void Remove(const std::string& session_id);

  // Passes a CancelRequest on if the key is right; silence otherwise, as with Postgres.
  void Cancel(uint32_t process_id, std::string_view secret) const;

  void EndGrant(const std::string& grant_id, const Ending& ending) const;
  void EndSession(const std::string& session_id, const Ending& ending) const;
  // Ends the sessions on targets for which `gone` is true.
  template <typename Predicate>
  void EndTargets(Predicate gone, const Ending& ending) const {
    for (const auto& [session, control] : Snapshot()) {
      if (!gone(session.target())) continue;
      if (auto live = control.lock()) live->EndSoon(ending);
    }
  }
  void DrainAll(const Ending& ending) const;
  void EndAll(const Ending& ending) const;
  size_t size() const;

 private:
  struct Entry {
    v1::Session session;
    std::weak_ptr<SessionControl> control;
    uint32_t process_id = 0;
    std::string secret;
  };
  std::vector<std::pair<v1::Session, std::weak_ptr<SessionControl>>> Snapshot() const;

  const RegistryLimits limits_;
  Random& random_;
  mutable absl::Mutex mu_;
  std::unordered_map<std::string, Entry> sessions_ ABSL_GUARDED_BY(mu_);
  std::unordered_map<uint32_t, std::string> by_process_ ABSL_GUARDED_BY(mu_);
  std::unordered_multimap<std::string, std::string> by_grant_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, int> per_agent_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::session
