// A policy as YAML that Load() reads back to the same policy.
#pragma once

#include <string>
#include <vector>

#include "postern/v1/policy.pb.h"

namespace postern::policy {

// `comments` stand above the rules, in their order; lines are kept, missing ones are none. Masks of one rule must agree
// in probes_max (where they are probed) and placeholder, which a rule says once for all of them.
std::string WriteYaml(const v1::Policy& policy, const std::vector<std::string>& comments);

}  // namespace postern::policy
