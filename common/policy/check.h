// What must hold of a policy whatever it was made from. Load() reports it with the rest; Compile() refuses without it.
#pragma once

#include <string>
#include <string_view>

#include "common/policy/findings.h"
#include "postern/v1/policy.pb.h"

namespace postern::policy {

// Reports each contradiction of `policy` as an ERROR; what concerns the policy as a whole at `head_line`.
void CheckPolicy(const v1::Policy& policy, int head_line, FindingSink& sink);

// schema.relation.column split at its dots; false when it has not exactly three parts that are not empty.
struct ColumnPath {
  std::string schema, relation, column;
};
bool SplitColumnPath(std::string_view text, ColumnPath* path);

}  // namespace postern::policy
