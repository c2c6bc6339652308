#include "controlplane/target/target_service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "common/crypto/certificate.h"
#include "common/crypto/secret.h"
#include "fmt/format.h"

namespace postern::target {
namespace {

constexpr size_t kLongestName = 63;
constexpr int64_t kLongestLease = 3600;

absl::Status Invalid(std::string_view what, std::string_view hint = {}) {
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_TARGET", what, hint);
}

bool IsTargetName(std::string_view name) {
  return !name.empty() && name.size() <= kLongestName && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

// Names of databases and roles reach a start-up packet, where a zero byte would end them.
bool IsPostgresName(std::string_view name) {
  return !name.empty() && name.size() <= kLongestName &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

absl::Status Validate(const v1::Target& target) {
  if (!IsTargetName(target.name())) return Invalid("name must be 1 to 63 of a-z, 0-9 and -");
  if (target.host().empty() || target.host().size() > 255) return Invalid("host is missing or too long");
  if (target.port() < 1 || target.port() > 65535) return Invalid("port must be 1 to 65535");
  if (!IsPostgresName(target.default_database())) return Invalid("default_database is not a database name");
  for (const std::string& database : target.databases()) {
    if (!IsPostgresName(database)) return Invalid("databases has an entry that is not a database name");
  }
  if (!IsPostgresName(target.login_role())) return Invalid("login_role is not a role name");
  if (!target.default_role().empty() && !IsPostgresName(target.default_role())) {
    return Invalid("default_role is not a role name");
  }
  const std::string& tls = target.tls_mode();
  if (tls != "disable" && tls != "require" && tls != "verify-ca" && tls != "verify-full") {
    return Invalid("tls_mode must be disable, require, verify-ca or verify-full");
  }
  if (!target.tls_ca_pem().empty() && !crypto::ReadCertificate(target.tls_ca_pem()).ok()) {
    return Invalid("tls_ca_pem is not a PEM certificate");
  }
  if (target.lease_seconds() < 0 || target.lease_seconds() > kLongestLease) {
    return Invalid(fmt::format("lease_seconds must be 0 to {}", kLongestLease));
  }
  return absl::OkStatus();
}

v1::Target View(const identity::Caller& caller, const v1::Target& target) {
  if (!caller.IsAgent()) return target;
  v1::Target visible;
  visible.set_name(target.name());
  visible.set_default_database(target.default_database());
  *visible.mutable_databases() = target.databases();
  return visible;
}

}  // namespace

absl::StatusOr<std::string> DatabaseOf(const v1::Target& target, std::string_view asked) {
  if (asked.empty() || asked == target.default_database()) return target.default_database();
  for (const std::string& database : target.databases()) {
    if (database == asked) return database;
  }
  return Error(absl::StatusCode::kInvalidArgument, "DATABASE_NOT_SERVED",
               fmt::format("target {} does not serve database {}", target.name(), asked),
               fmt::format("its default database is {}", target.default_database()));
}

absl::Status CreateTarget(const TargetDeps& deps, const v1::CreateTargetRequest& request, v1::Target* response) {
  StoredTarget fresh;
  fresh.target = request.target();
  if (fresh.target.tls_mode().empty()) fresh.target.set_tls_mode("verify-full");
  fresh.target.clear_etag();
  POSTERN_RETURN_IF_ERROR(Validate(fresh.target));
  *fresh.target.mutable_create_time() = ToTimestamp(deps.clock.Now());

  const crypto::Secret password(request.password());
  POSTERN_ASSIGN_OR_RETURN(fresh.sealed_password, deps.vault.SealPassword(fresh.target.name(), password));
  POSTERN_ASSIGN_OR_RETURN(fresh.sealed_mask_key, deps.vault.SealNewMaskKey(fresh.target.name()));
  POSTERN_ASSIGN_OR_RETURN(const StoredTarget stored, deps.store.Insert(fresh));
  deps.hub.PushTargets();
  *response = stored.target;
  return absl::OkStatus();
}

absl::Status GetTarget(const TargetDeps& deps, const identity::Caller& caller, const v1::GetTargetRequest& request,
                       v1::Target* response) {
  POSTERN_ASSIGN_OR_RETURN(const StoredTarget stored, deps.store.Get(request.name()));
  *response = View(caller, stored.target);
  return absl::OkStatus();
}

absl::Status ListTargets(const TargetDeps& deps, const identity::Caller& caller, const v1::ListTargetsRequest& request,
                         v1::ListTargetsResponse* response) {
  const int wanted = request.page_size() <= 0 ? 50 : std::min(request.page_size(), 1000);
  POSTERN_ASSIGN_OR_RETURN(const std::vector<StoredTarget> page, deps.store.List(request.page_token(), wanted + 1));
  for (const StoredTarget& stored : page) {
    if (response->targets_size() == wanted) {
      response->set_next_page_token(response->targets(wanted - 1).name());
      break;
    }
    *response->add_targets() = View(caller, stored.target);
  }
  return absl::OkStatus();
}

absl::Status UpdateTarget(const TargetDeps& deps, const v1::UpdateTargetRequest& request, v1::Target* response) {
  POSTERN_ASSIGN_OR_RETURN(StoredTarget stored, deps.store.Get(request.target().name()));
  if (!request.target().etag().empty() && request.target().etag() != stored.target.etag()) {
    return Error(absl::StatusCode::kAborted, "STALE_ETAG",
                 fmt::format("target {} has changed since you saw it", request.target().name()),
                 "look at it again, then update");
  }
  const google::protobuf::Timestamp created = stored.target.create_time();
  stored.target = request.target();
  *stored.target.mutable_create_time() = created;
  if (stored.target.tls_mode().empty()) stored.target.set_tls_mode("verify-full");
  stored.target.clear_etag();
  POSTERN_RETURN_IF_ERROR(Validate(stored.target));
  if (!request.password().empty()) {
    const crypto::Secret password(request.password());
    POSTERN_ASSIGN_OR_RETURN(stored.sealed_password, deps.vault.SealPassword(stored.target.name(), password));
  }
  POSTERN_ASSIGN_OR_RETURN(const StoredTarget saved, deps.store.Replace(stored));
  deps.hub.PushTargets();
  *response = saved.target;
  return absl::OkStatus();
}

absl::Status DeleteTarget(const TargetDeps& deps, const v1::DeleteTargetRequest& request) {
  POSTERN_RETURN_IF_ERROR(deps.store.Delete(request.name()));
  deps.hub.PushTargets();
  return deps.cut_sessions(request.name());
}

}  // namespace postern::target
