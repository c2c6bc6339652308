// Reading YAML mappings with known keys, so that everything unexpected becomes a finding with its line. Internal to
// this room: yaml-cpp does not leave it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/policy/findings.h"
#include "yaml-cpp/yaml.h"

namespace postern::policy {

// 1-based line of a node.
int LineOf(const YAML::Node& node);

// One mapping. Making it reports keys that are unknown or given twice; each getter reports a value of the wrong type
// and then answers as if the key were absent.
class Section {
 public:
  // `what` names the mapping in messages: "a rule", "`session`". `line` is reported when `node` has none.
  Section(const YAML::Node& node, std::string what, std::initializer_list<std::string_view> keys, FindingSink& sink);

  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  int line() const { return line_; }
  // Line of the key's value; of the mapping when absent.
  int LineOfKey(std::string_view key) const;

  std::string String(std::string_view key);
  std::string RequiredString(std::string_view key, std::string_view example);
  // A list of strings, e.g. `[select, update]`. An empty list is reported: leave the key out instead.
  std::vector<std::string> Strings(std::string_view key);
  // Lines parallel to Strings().
  std::vector<int> LinesOf(std::string_view key) const;
  std::optional<bool> Bool(std::string_view key);
  // A whole number from 1 to `most`.
  std::optional<int64_t> Positive(std::string_view key, int64_t most);
  // A duration in milliseconds; `whole_seconds` refuses fractions of one.
  std::optional<int64_t> Duration(std::string_view key, bool whole_seconds);
  // A mapping or list, to be read further; nullptr when absent.
  const YAML::Node* Map(std::string_view key);
  const YAML::Node* List(std::string_view key);

  FindingSink& sink() { return sink_; }

 private:
  const YAML::Node* Find(std::string_view key) const;
  void WrongType(std::string_view key, const YAML::Node& value, std::string_view wanted);

  std::string what_;
  FindingSink& sink_;
  int line_;
  std::map<std::string, YAML::Node, std::less<>> values_;
};

// The word for what a node is: "a list", "a mapping", "nothing", "a value".
std::string_view KindOf(const YAML::Node& node);

}  // namespace postern::policy
