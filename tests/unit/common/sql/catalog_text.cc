#include "tests/unit/common/sql/catalog_text.h"

#include <map>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace postern::sql {
namespace {

class Reader {
 public:
  std::shared_ptr<const Catalog> Read(std::string_view text) {
    contents_.set_server_version(150000);
    auto* type = contents_.add_types();
    type->set_oid(25);
    type->set_name("pg_catalog.text");
    Schema("pg_catalog");
    std::istringstream lines{std::string(text)};
    for (std::string line; std::getline(lines, line);) {
      if (line.empty() || line[0] == '#') continue;
      Line(line);
    }
    return Catalog::Build(contents_);
  }

 private:
  static std::string Word(std::string* line) {
    const size_t begin = line->find_first_not_of(' ');
    if (begin == std::string::npos) throw std::runtime_error("catalog line ends early");
    const size_t end = line->find(' ', begin);
    std::string word = line->substr(begin, end == std::string::npos ? end : end - begin);
    *line = end == std::string::npos ? "" : line->substr(end);
    return word;
  }

  uint32_t Schema(const std::string& name) {
    auto [it, added] = schemas_.emplace(name, static_cast<uint32_t>(100 + schemas_.size()));
    if (added) {
      auto* schema = contents_.add_schemas();
      schema->set_oid(it->second);
      schema->set_name(name);
    }
    return it->second;
  }

  v1::CatalogContents::Relation* Find(const std::string& name) {
    auto it = relations_.find(name);
    if (it == relations_.end()) throw std::runtime_error("no relation " + name);
    return contents_.mutable_relations(it->second);
  }

  void Columns(std::string* line, v1::CatalogContents::Relation* relation) {
    const size_t open = line->find('(');
    const size_t close = line->find(')');
    if (open == std::string::npos || close == std::string::npos) return;
    std::istringstream columns(line->substr(open + 1, close - open - 1));
    int attnum = 0;
    for (std::string column; std::getline(columns, column, ',');) {
      auto* to = relation->add_columns();
      to->set_name(Word(&column));
      to->set_attnum(++attnum);
      to->set_type_oid(25);
      to->set_generated(column.find("generated") != std::string::npos);
    }
    *line = line->substr(close + 1);
  }

  void Line(std::string line) {
    static const std::map<std::string, std::string> kinds = {{"table", "r"},    {"partitioned", "p"}, {"child", "r"},
                                                             {"view", "v"},     {"matview", "m"},     {"foreign", "f"},
                                                             {"sequence", "S"}, {"composite", "c"}};
    const std::string what = Word(&line);
    if (what == "schema") {
      Schema(Word(&line));
    } else if (what == "operators") {
      contents_.add_schemas_with_operators(Word(&line));
    } else if (what == "triggers") {
      Find(Word(&line))->set_has_triggers(true);
    } else if (what == "rules") {
      Find(Word(&line))->set_has_rules(true);
    } else if (what == "function") {
      Function(&line);
    } else if (kinds.contains(what)) {
      const uint32_t oid = static_cast<uint32_t>(std::stoul(Word(&line)));
      const std::string name = Word(&line);
      const size_t dot = name.find('.');
      relations_[name] = contents_.relations_size();
      auto* relation = contents_.add_relations();
      relation->set_oid(oid);
      relation->set_schema_oid(Schema(name.substr(0, dot)));
      relation->set_name(name.substr(dot + 1));
      relation->set_relkind(kinds.at(what));
      Columns(&line, relation);
      if (line.find_first_not_of(' ') == std::string::npos) return;
      const std::string clause = Word(&line);
      if (clause == "as") relation->set_view_definition(line);
      if (clause == "of") relation->add_parents(Find(Word(&line))->oid());
    } else {
      throw std::runtime_error("catalog line not understood: " + what);
    }
  }

  void Function(std::string* line) {
    auto* function = contents_.add_functions();
    function->set_oid(static_cast<uint32_t>(std::stoul(Word(line))));
    const std::string name = Word(line);
    const size_t dot = name.find('.');
    function->set_schema_oid(Schema(name.substr(0, dot)));
    function->set_name(name.substr(dot + 1));
    function->set_volatility(Word(line).substr(0, 1));
    function->set_language(Word(line));
    function->set_kind("f");
    if (line->find_first_not_of(' ') == std::string::npos) return;
    if (Word(line) == "as") function->set_source(*line);
  }

  v1::CatalogContents contents_;
  std::map<std::string, uint32_t> schemas_;
  std::map<std::string, int> relations_;
};

}  // namespace

std::shared_ptr<const Catalog> CatalogFromText(std::string_view text) { return Reader().Read(text); }

std::string ColumnName(const Catalog& catalog, const ColumnId& column) {
  const Relation* relation = catalog.FindRelation(column.relation);
  if (relation == nullptr) return "?";
  for (const Column& candidate : relation->columns) {
    if (candidate.attnum == column.attnum) return relation->schema + "." + relation->name + "." + candidate.name;
  }
  return relation->schema + "." + relation->name + ".?";
}

}  // namespace postern::sql
