#include "controlplane/fleet/scope.h"

#include <algorithm>
#include <string_view>

namespace postern::fleet {
namespace {

// `*` stands for any run of characters.
bool GlobMatches(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p, ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return std::all_of(pattern.begin() + p, pattern.end(), [](char c) { return c == '*'; });
}

template <typename Patterns>
bool AnyMatches(const Patterns& patterns, std::string_view text) {
  return patterns.empty() ||
         std::any_of(patterns.begin(), patterns.end(), [&](const auto& pattern) { return GlobMatches(pattern, text); });
}

bool CouldApply(const v1::TargetMatcher& matcher, const v1::Target& target) {
  if (!AnyMatches(matcher.names(), target.name()) || !AnyMatches(matcher.env(), target.env())) return false;
  if (target.databases().empty()) return AnyMatches(matcher.databases(), target.default_database());
  return std::any_of(target.databases().begin(), target.databases().end(),
                     [&](const std::string& database) { return AnyMatches(matcher.databases(), database); }) ||
         AnyMatches(matcher.databases(), target.default_database());
}

}  // namespace

v1::SyncResponse::Targets TargetsFor(const ControlSources::TargetSet& all, const std::vector<std::string>& names) {
  v1::SyncResponse::Targets targets;
  for (const v1::Target& target : all.targets) {
    if (std::find(names.begin(), names.end(), target.name()) == names.end()) continue;
    *targets.add_targets() = target;
    if (auto key = all.mask_keys.find(target.name()); key != all.mask_keys.end()) {
      (*targets.mutable_mask_keys())[target.name()] = key->second;
    }
  }
  return targets;
}

v1::PolicySet PolicyFor(const v1::PolicySet& set, const v1::SyncResponse::Targets& targets) {
  v1::PolicySet scoped;
  scoped.set_revision(set.revision());
  for (const v1::Policy& policy : set.policies()) {
    const bool needed = std::any_of(targets.targets().begin(), targets.targets().end(),
                                    [&](const v1::Target& target) { return CouldApply(policy.targets(), target); });
    if (!needed) continue;
    v1::Policy& kept = *scoped.add_policies();
    kept = policy;
    kept.clear_tests();
    kept.clear_owner();
  }
  return scoped;
}

}  // namespace postern::fleet
