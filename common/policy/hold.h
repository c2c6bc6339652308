// A hold rule's terms and change freezes: reading, checking, compiling. Internal to this room.
#pragma once

#include <string>

#include "common/policy/compiled.h"
#include "common/policy/findings.h"
#include "yaml-cpp/yaml.h"

namespace postern::policy {

void ReadHold(const YAML::Node& node, FindingSink& sink, v1::HoldSettings* hold);
void ReadFreeze(const YAML::Node& node, FindingSink& sink, v1::Freeze* freeze);

// What must hold between the parts of `rule.hold()`. `name` is the rule's, for messages.
void CheckHold(const v1::Rule& rule, const std::string& name, FindingSink& sink);
void CheckFreezes(const v1::Policy& policy, FindingSink& sink);

// With every default filled in.
HoldTerms CompileHold(const v1::HoldSettings& settings);

}  // namespace postern::policy
