// Sessions as sidecars report them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "postern/v1/session.pb.h"

namespace postern::session {

struct SessionFilter {
  // Empty: any.
  std::string agent = {};
  std::string target = {};
  std::string grant_id = {};
  // Only those that have not ended.
  bool live_only = false;
  // Only ids before this one (newest first); empty: from the newest.
  std::string before_id = {};
  int limit = 50;
};

// Thread-safe. UNAVAILABLE from any of them: unknown; read again before retrying.
class SessionStore {
 public:
  virtual ~SessionStore() = default;

  // Saves a report, new or repeated. A session that has ended stays ended, and one keeps its sidecar: a report from
  // another sidecar is PERMISSION_DENIED/SESSION_NOT_YOURS.
  virtual absl::Status Save(const v1::Session& session) = 0;

  // What a sidecar says when it connects: these are its live sessions. Others of its that were live have ended at `now`
  // for reason "lost".
  virtual absl::Status ReplaceLive(std::string_view sidecar_id, const std::vector<v1::Session>& live,
                                   absl::Time now) = 0;

  // NOT_FOUND/SESSION_NOT_FOUND.
  virtual absl::StatusOr<v1::Session> Get(std::string_view id) const = 0;

  // Newest first. States are as reported; who knows which sidecars are connected makes LIVE into UNKNOWN.
  virtual absl::StatusOr<std::vector<v1::Session>> List(const SessionFilter& filter) const = 0;
};

}  // namespace postern::session
