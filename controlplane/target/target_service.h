// The rules of TargetService, without the wire.
#pragma once

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "controlplane/credential/credential_vault.h"
#include "controlplane/fleet/fleet_hub.h"
#include "controlplane/identity/caller.h"
#include "controlplane/target/target_store.h"
#include "postern/v1/target.pb.h"

namespace postern::target {

struct TargetDeps {
  TargetStore& store;
  const credential::CredentialVault& vault;
  fleet::FleetHub& hub;
  const Clock& clock;
  // Cuts the live sessions on a target that is gone.
  std::function<absl::Status(std::string_view target)> cut_sessions;
};

// The database that `asked` stands for on this target: the default one if empty.
// INVALID_ARGUMENT/DATABASE_NOT_SERVED if the target does not serve it.
absl::StatusOr<std::string> DatabaseOf(const v1::Target& target, std::string_view asked);

// INVALID_ARGUMENT/INVALID_TARGET for a field that makes no sense, named in the message.
absl::Status CreateTarget(const TargetDeps& deps, const v1::CreateTargetRequest& request, v1::Target* response);
// Agents see name and databases only.
absl::Status GetTarget(const TargetDeps& deps, const identity::Caller& caller, const v1::GetTargetRequest& request,
                       v1::Target* response);
absl::Status ListTargets(const TargetDeps& deps, const identity::Caller& caller, const v1::ListTargetsRequest& request,
                         v1::ListTargetsResponse* response);
absl::Status UpdateTarget(const TargetDeps& deps, const v1::UpdateTargetRequest& request, v1::Target* response);
absl::Status DeleteTarget(const TargetDeps& deps, const v1::DeleteTargetRequest& request);

}  // namespace postern::target
