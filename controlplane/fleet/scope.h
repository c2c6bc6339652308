// What one sidecar needs to know: its targets, and the policies that could ever apply on them. It gets no more, so that
// a sidecar that is taken over tells nothing about the rest of the fleet.
#pragma once

#include <string>
#include <vector>

#include "controlplane/fleet/control_sources.h"
#include "postern/v1/policy.pb.h"
#include "postern/v1/sidecar.pb.h"
#include "postern/v1/target.pb.h"

namespace postern::fleet {

// The targets of `all` that are named in `names`, with their mask keys.
v1::SyncResponse::Targets TargetsFor(const ControlSources::TargetSet& all, const std::vector<std::string>& names);

// The policies of `set` whose target matcher could match one of `targets`, without their tests and owners. When in
// doubt a policy is kept: leaving out a deny rule would open what it closes.
v1::PolicySet PolicyFor(const v1::PolicySet& set, const v1::SyncResponse::Targets& targets);

}  // namespace postern::fleet
