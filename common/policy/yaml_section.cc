#include "common/policy/yaml_section.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/policy/vocabulary.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

// Values may be long or hold anything: messages show their beginning.
std::string Shown(const std::string& text) {
  constexpr size_t kMost = 60;
  return text.size() <= kMost ? text : text.substr(0, kMost) + "…";
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

int LineOf(const YAML::Node& node) { return std::max(node.Mark().line, 0) + 1; }

std::string_view KindOf(const YAML::Node& node) {
  if (node.IsSequence()) return "a list";
  if (node.IsMap()) return "a mapping";
  return node.IsScalar() ? "a value" : "nothing";
}

Section::Section(const YAML::Node& node, std::string what, std::initializer_list<std::string_view> keys,
                 FindingSink& sink)
    : what_(std::move(what)), sink_(sink), line_(LineOf(node)) {
  if (!node.IsMap()) {
    sink_.Error(line_, fmt::format("{} must be a mapping of keys to values, not {}", what_, KindOf(node)));
    return;
  }
  const std::vector<std::string> known(keys.begin(), keys.end());
  std::map<std::string, int> first_line;
  for (const auto& pair : node) {
    const int line = LineOf(pair.first);
    if (!pair.first.IsScalar()) {
      sink_.Error(
          line, fmt::format("{} has {} as a key; keys are plain words: {}", what_, KindOf(pair.first), Joined(known)));
      continue;
    }
    const std::string& key = pair.first.Scalar();
    const auto [seen, is_new] = first_line.emplace(key, line);
    if (!is_new) {
      sink_.Error(line, fmt::format("{} has `{}` twice, first in line {}; keep one", what_, Shown(key), seen->second));
    } else if (std::find(known.begin(), known.end(), key) == known.end()) {
      const std::string nearest = Nearest(key, known);
      sink_.Error(line, nearest.empty()
                            ? fmt::format("unknown key `{}` in {}; it takes {}", Shown(key), what_, Joined(known))
                            : fmt::format("unknown key `{}` in {}; did you mean `{}`?", Shown(key), what_, nearest));
    } else {
      values_.emplace(key, pair.second);
    }
  }
}

const YAML::Node* Section::Find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

int Section::LineOfKey(std::string_view key) const {
  const YAML::Node* value = Find(key);
  return value == nullptr ? line_ : LineOf(*value);
}

void Section::WrongType(std::string_view key, const YAML::Node& value, std::string_view wanted) {
  const std::string got = value.IsScalar() ? fmt::format("`{}`", Shown(value.Scalar())) : std::string(KindOf(value));
  sink_.Error(LineOf(value), fmt::format("`{}` of {} must be {}, not {}", key, what_, wanted, got));
}

std::string Section::String(std::string_view key) {
  const YAML::Node* value = Find(key);
  if (value == nullptr) return "";
  if (!value->IsScalar() || value->Scalar().empty()) {
    WrongType(key, *value, "a text that is not empty");
    return "";
  }
  return value->Scalar();
}

std::string Section::RequiredString(std::string_view key, std::string_view example) {
  if (!Has(key)) sink_.Error(line_, fmt::format("{} needs `{}`, e.g. `{}: {}`", what_, key, key, example));
  return String(key);
}

std::vector<std::string> Section::Strings(std::string_view key) {
  const YAML::Node* value = Find(key);
  std::vector<std::string> strings;
  if (value == nullptr) return strings;
  if (value->IsScalar() && !value->Scalar().empty()) {
    sink_.Error(LineOf(*value),
                fmt::format("`{}` of {} is a list: write `{}: [{}]`", key, what_, key, Shown(value->Scalar())));
    return strings;
  }
  if (!value->IsSequence()) {
    WrongType(key, *value, "a list such as `[a, b]`");
    return strings;
  }
  if (value->size() == 0) {
    sink_.Error(LineOf(*value), fmt::format("`{}` of {} is empty; name something or leave the key out", key, what_));
  }
  for (const auto& item : *value) {
    if (!item.IsScalar() || item.Scalar().empty()) {
      sink_.Error(LineOf(item), fmt::format("each item of `{}` of {} must be a text, not {}", key, what_,
                                            item.IsScalar() ? "empty" : KindOf(item)));
      return {};
    }
    strings.push_back(item.Scalar());
  }
  return strings;
}

std::vector<int> Section::LinesOf(std::string_view key) const {
  std::vector<int> lines;
  const YAML::Node* value = Find(key);
  if (value != nullptr && value->IsSequence()) {
    for (const auto& item : *value) lines.push_back(LineOf(item));
  }
  return lines;
}

std::optional<bool> Section::Bool(std::string_view key) {
  const YAML::Node* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->IsScalar() && value->Scalar() == "true") return true;
  if (value->IsScalar() && value->Scalar() == "false") return false;
  WrongType(key, *value, "`true` or `false`");
  return std::nullopt;
}

std::optional<int64_t> Section::Positive(std::string_view key, int64_t most) {
  const YAML::Node* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->IsScalar()) {
    const std::string& text = value->Scalar();
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size() && number >= 1 && number <= most) return number;
  }
  WrongType(key, *value, fmt::format("a whole number from 1 to {}", most));
  return std::nullopt;
}

std::optional<int64_t> Section::Duration(std::string_view key, bool whole_seconds) {
  const YAML::Node* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->IsScalar()) {
    const std::optional<int64_t> duration = ParseDuration(value->Scalar());
    if (duration && (!whole_seconds || *duration % 1000 == 0)) return duration;
  }
  WrongType(key, *value,
            whole_seconds ? "a duration in hours, minutes and seconds such as `10m`, `5s` or `1h30m`"
                          : "a duration such as `10m`, `5s` or `500ms`");
  return std::nullopt;
}

const YAML::Node* Section::Map(std::string_view key) {
  const YAML::Node* value = Find(key);
  if (value == nullptr || value->IsMap()) return value;
  WrongType(key, *value, "a mapping");
  return nullptr;
}

const YAML::Node* Section::List(std::string_view key) {
  const YAML::Node* value = Find(key);
  if (value == nullptr || value->IsSequence()) return value;
  WrongType(key, *value, "a list");
  return nullptr;
}

}  // namespace postern::policy
