// Analyses and judges a text: what Enforcer does where its cache has no answer.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "sidecar/enforce/enforcer.h"

namespace postern::sidecar {

// The catalog that plans are made under; every new one has another generation.
struct CatalogInForce {
  std::shared_ptr<const sql::Catalog> catalog;
  uint64_t generation = 0;
};

// Never nullptr; a text that cannot be analysed has Plan::refusal.
std::shared_ptr<Plan> MakePlan(const CatalogInForce& in_force, const SessionIdentity& identity,
                               const SessionState& state, const policy::CompiledPolicy& policy, std::string_view text);

}  // namespace postern::sidecar
