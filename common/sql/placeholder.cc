#include "common/sql/placeholder.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "common/base/errors.h"
#include "common/base/strings.h"
#include "common/sql/analyzer.h"
#include "common/sql/parse.h"
#include "common/sql/scan.h"
#include "fmt/format.h"

namespace postern::sql {
namespace {

using internal::Analyzer;
using internal::Items;
using internal::Range;
using internal::StringOf;
using internal::Token;
using internal::View;

absl::Status NoPlaceholder(std::string_view why) {
  return Error(absl::StatusCode::kFailedPrecondition, "NO_PLACEHOLDER", why);
}

std::string Quoted(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted.push_back('"');
    quoted.push_back(c);
  }
  return quoted + '"';
}

bool IsBlank(const Range& range, int index, const std::vector<ColumnId>& blank) {
  const internal::ColumnSet sources = Analyzer::SourcesOf(range, index);
  return std::any_of(sources.begin(), sources.end(),
                     [&](ColumnId source) { return std::binary_search(blank.begin(), blank.end(), source); });
}

// What the text names at one place of FROM. A recursive term is analysed more than once.
struct Place {
  const Range* range = nullptr;
  std::vector<bool> named;
};

// The tokens of the text, without comments, and the places of names among them.
class NameTokens {
 public:
  NameTokens(std::string_view whole, std::vector<Token> tokens) : text_(whole), tokens_(std::move(tokens)) {
    std::erase_if(tokens_, [](const Token& token) {
      return token.kind == internal::kTokenSqlComment || token.kind == internal::kTokenCComment;
    });
  }

  size_t size() const { return tokens_.size(); }
  const Token& operator[](size_t i) const { return tokens_[i]; }

  // The token that begins there; size() if none does.
  size_t At(int location) const {
    const auto found = std::lower_bound(tokens_.begin(), tokens_.end(), location, [](const Token& token, int wanted) {
      return token.begin < static_cast<uint32_t>(std::max(wanted, 0));
    });
    if (found == tokens_.end() || static_cast<int>(found->begin) != location) return tokens_.size();
    return static_cast<size_t>(found - tokens_.begin());
  }
  bool IsPunctuation(size_t i, char c) const {
    return i < tokens_.size() && tokens_[i].kind == static_cast<uint32_t>(static_cast<unsigned char>(c));
  }
  // An unquoted word.
  bool IsWord(size_t i, std::string_view word) const {
    return i < tokens_.size() && absl::EqualsIgnoreCase(AbslView(Text(i)), AbslView(word));
  }
  // A name in words or double quotes; not U&"…", whose end is not its token's.
  bool IsName(size_t i) const {
    if (i >= tokens_.size() || tokens_[i].kind == internal::kTokenUIdent) return false;
    const auto first = static_cast<unsigned char>(text_[tokens_[i].begin]);
    return first == '"' || first == '_' || first >= 0x80 || absl::ascii_isalpha(first);
  }

 private:
  std::string_view Text(size_t i) const { return text_.substr(tokens_[i].begin, tokens_[i].end - tokens_[i].begin); }

  const std::string_view text_;
  std::vector<Token> tokens_;
};

// Collects the edits of one text.
class Editor {
 public:
  Editor(const NameTokens& words, const Catalog& catalog, const std::vector<ColumnId>& blank)
      : words_(words), catalog_(catalog), blank_(blank) {}

  void Statement(const Analyzer& analyzer) {
    std::map<int, Place> places;
    for (const Range& range : analyzer.ranges()) {
      if (range.named == nullptr || range.relation == nullptr || range.open) continue;
      Place& place = places[range.named->location];
      place.range = &range;
      place.named.resize(range.relation->columns.size());
      for (size_t i = 0; i < range.noted.size(); ++i) place.named[i] = place.named[i] || range.noted[i];
    }
    for (const auto& [location, place] : places) {
      if (NeedsPlaceholder(place)) Replace(place, places);
    }
    for (const Analyzer::Qualified& column : analyzer.qualified()) Unqualify(column);
  }

  absl::StatusOr<std::vector<TextEdit>> Take() {
    if (!obstacle_.empty()) return NoPlaceholder(obstacle_);
    if (edits_.empty()) {
      return NoPlaceholder(
          "no table of its own text has them: they come through a function, or what was prepared before");
    }
    std::sort(edits_.begin(), edits_.end(), [](const TextEdit& a, const TextEdit& b) { return a.begin < b.begin; });
    for (size_t i = 1; i < edits_.size(); ++i) {
      if (edits_[i].begin < edits_[i - 1].end) return NoPlaceholder("its names overlap");
    }
    return std::move(edits_);
  }

 private:
  void Fail(std::string why) {
    if (obstacle_.empty()) obstacle_ = std::move(why);
  }

  bool NeedsPlaceholder(const Place& place) const {
    for (size_t i = 0; i < place.named.size(); ++i) {
      if (place.named[i] && IsBlank(*place.range, static_cast<int>(i), blank_)) return true;
    }
    return false;
  }

  std::string NameOf(const Range& range) const { return fmt::format("{}.{}", range.schema, range.name); }

  // `FROM app.customers` becomes `FROM (SELECT … FROM "app"."customers") AS "customers"`; what follows, an alias say,
  // stays.
  void Replace(const Place& place, const std::map<int, Place>& places) {
    const Range& range = *place.range;
    const ::RangeVar& var = *range.named;
    if (range.sampled) return Fail(fmt::format("TABLESAMPLE takes {} itself, and no subselect", NameOf(range)));
    size_t first = words_.At(var.location);
    const int parts = 1 + (var.schemaname != nullptr ? 1 : 0) + (var.catalogname != nullptr ? 1 : 0);
    size_t last = first;
    for (int part = 0; part < parts; ++part) {
      if (part > 0 && !words_.IsPunctuation(last++, '.')) return FailToRead(range);
      if (!words_.IsName(last++)) return FailToRead(range);
    }
    if (!var.inh && !WithOnly(&first, &last)) return FailToRead(range);
    if (var.inh && words_.IsPunctuation(last, '*')) ++last;
    TextEdit edit{words_[first].begin, words_[last - 1].end, ""};
    const bool is_table_command = first > 0 && words_.IsWord(first - 1, "table");
    if (is_table_command) {
      edit.begin = words_[first - 1].begin;
      edit.text = "SELECT * FROM ";
    }
    if (!Subselect(place, &edit.text)) return;
    if (var.alias == nullptr) {
      if (IsAmbiguous(range, places)) {
        return Fail(fmt::format("two tables are named {}; give them aliases", range.name));
      }
      edit.text += fmt::format(" AS {}", Quoted(View(var.relname)));
    }
    replaced_.push_back(var.location);
    edits_.push_back(std::move(edit));
  }

  void FailToRead(const Range& range) {
    Fail(fmt::format("the name of {} is written in a way that cannot be replaced", NameOf(range)));
  }

  // ONLY t and ONLY (t): the words around the name.
  bool WithOnly(size_t* first, size_t* last) const {
    if (*first > 0 && words_.IsWord(*first - 1, "only")) {
      --*first;
      return true;
    }
    if (*first < 2 || !words_.IsPunctuation(*first - 1, '(') || !words_.IsWord(*first - 2, "only")) return false;
    if (!words_.IsPunctuation(*last, ')')) return false;
    *first -= 2;
    ++*last;
    return true;
  }

  // Another table of the same name, told apart by its schema only: as an alias the name may be there but once.
  static bool IsAmbiguous(const Range& range, const std::map<int, Place>& places) {
    return std::any_of(places.begin(), places.end(), [&](const auto& entry) {
      const Range& other = *entry.second.range;
      return other.relation != range.relation && other.name == range.name && other.named->alias == nullptr;
    });
  }

  bool Subselect(const Place& place, std::string* out) {
    const Range& range = *place.range;
    out->append("(SELECT ");
    for (size_t i = 0; i < place.named.size(); ++i) {
      const Column& column = range.relation->columns[i];
      const std::string name = Quoted(column.name);
      const bool blank = IsBlank(range, static_cast<int>(i), blank_);
      const std::string_view type = catalog_.TypeName(column.type);
      if (blank && type.empty()) {
        Fail(fmt::format("the type of {}.{} has no name that is known", NameOf(range), column.name));
        return false;
      }
      if (i > 0) out->append(", ");
      if (blank || (!place.named[i] && !type.empty())) {
        out->append(fmt::format("NULL::{} AS {}", type, name));
      } else {
        out->append(name);
      }
    }
    out->append(
        fmt::format(" FROM {}{}.{})", range.named->inh ? "" : "ONLY ", Quoted(range.schema), Quoted(range.name)));
    return true;
  }

  // schema.table.column names a table itself: of the subselect it is table.column.
  void Unqualify(const Analyzer::Qualified& column) {
    const Range* range = column.range;
    if (range->named == nullptr ||
        std::find(replaced_.begin(), replaced_.end(), range->named->location) == replaced_.end()) {
      return;
    }
    if (!column.without_schema)
      return Fail(fmt::format("{} means another table without its schema; give it an alias", range->name));
    const size_t first = words_.At(column.ref->location);
    // catalog.schema.table.column, of which the last two stay.
    const size_t table = first + 2 * static_cast<size_t>(Items(column.ref->fields).size() - 2);
    for (size_t i = first; i < table; i += 2) {
      if (!words_.IsName(i) || !words_.IsPunctuation(i + 1, '.')) return FailToRead(*range);
    }
    if (!words_.IsName(table)) return FailToRead(*range);
    const TextEdit edit{words_[first].begin, words_[table].begin, ""};
    const bool known =
        std::any_of(edits_.begin(), edits_.end(), [&](const TextEdit& e) { return e.begin == edit.begin; });
    if (!known) edits_.push_back(edit);
  }

  const NameTokens& words_;
  const Catalog& catalog_;
  const std::vector<ColumnId>& blank_;
  std::vector<TextEdit> edits_;
  std::vector<int> replaced_;  // locations
  std::string obstacle_;
};

// "select app.orders", for comparing what two statements do.
std::vector<std::string> EffectKeys(const Statement& statement) {
  std::vector<std::string> keys;
  for (const Effect& effect : statement.effects) {
    keys.push_back(fmt::format("{} {} {} {}.{}", OperationName(effect.operation), static_cast<int>(effect.object_kind),
                               effect.derived, effect.schema, effect.name));
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

bool SameNames(const Statement& before, const Statement& after) {
  return std::equal(before.outputs.begin(), before.outputs.end(), after.outputs.begin(), after.outputs.end(),
                    [](const OutputColumn& a, const OutputColumn& b) { return a.name == b.name; });
}

// Bytes of the character that begins at `i`, in well-formed UTF-8.
size_t CharacterSize(std::string_view text, size_t i) {
  const auto lead = static_cast<unsigned char>(text[i]);
  return lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
}

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

absl::StatusOr<std::vector<TextEdit>> PlaceholderEdits(std::string_view text, const Catalog& catalog,
                                                       const SessionView& session, const AnalysisOptions& options,
                                                       const std::vector<size_t>& statements,
                                                       const std::vector<ColumnId>& columns) {
  internal::ParsedText parsed;
  if (absl::Status status = parsed.Parse(text, options.limits); !status.ok()) return status;
  std::optional<std::vector<Token>> tokens = internal::ScanTokens(text);
  if (!tokens.has_value()) return NoPlaceholder("its text cannot be taken apart");
  const NameTokens words(text, *std::move(tokens));
  Editor editor(words, catalog, columns);
  size_t index = 0;
  internal::AnalyzeParsed(parsed, text, catalog, session, options, [&](const Analyzer& analyzer, const Statement&) {
    if (std::find(statements.begin(), statements.end(), index) != statements.end()) editor.Statement(analyzer);
    ++index;
  });
  return editor.Take();
}

std::string ApplyEdits(std::string_view text, const std::vector<TextEdit>& edits) {
  std::string changed;
  size_t at = 0;
  for (const TextEdit& edit : edits) {
    changed.append(text.substr(at, edit.begin - at)).append(edit.text);
    at = edit.end;
  }
  return changed.append(text.substr(at));
}

int PositionBefore(std::string_view text, const std::vector<TextEdit>& edits, int position) {
  size_t left = position > 0 ? static_cast<size_t>(position - 1) : 0;
  size_t at = 0;  // in `text`
  const auto skip = [&](size_t end) {
    for (; at < end && left > 0; --left) at += CharacterSize(text, at);
    return left == 0 && at < end;
  };
  for (const TextEdit& edit : edits) {
    if (skip(edit.begin)) break;
    const size_t inserted = CountCharacters(edit.text);
    if (left < inserted) {
      left = 0;
      at = edit.begin;
      break;
    }
    left -= inserted;
    at = edit.end;
  }
  skip(text.size());
  return static_cast<int>(CountCharacters(text.substr(0, std::min(at, text.size())))) + 1;
}

absl::Status CheckSameMeaning(const Analysis& before, const Analysis& after) {
  if (before.statements.size() != after.statements.size()) return NoPlaceholder("it would be other statements");
  for (size_t i = 0; i < before.statements.size(); ++i) {
    const Statement& was = before.statements[i];
    const Statement& is = after.statements[i];
    if (is.unanalysable.has_value()) return NoPlaceholder(*is.unanalysable);
    const bool same = was.kind == is.kind && was.tag == is.tag && was.name == is.name &&
                      was.parameter_count == is.parameter_count && was.outputs_known == is.outputs_known &&
                      SameNames(was, is) && EffectKeys(was) == EffectKeys(is);
    if (!same) return NoPlaceholder("it would not be the same statement");
    for (const Effect& effect : is.effects) {
      const auto fits = [&](const Effect& other) {
        return other.operation == effect.operation && other.schema == effect.schema && other.name == effect.name &&
               (other.all_columns || std::includes(other.columns.begin(), other.columns.end(), effect.columns.begin(),
                                                   effect.columns.end()));
      };
      if (std::none_of(was.effects.begin(), was.effects.end(), fits)) {
        return NoPlaceholder("it would read more columns");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace postern::sql
