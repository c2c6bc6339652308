#include "tests/unit/common/sql/golden_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace postern::sql {
namespace {

void HeaderLine(const std::string& line, GoldenFile* file) {
  const size_t space = line.find(' ');
  const std::string word = line.substr(0, space);
  const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
  if (word == "catalog") file->catalog = rest;
  if (word == "search_path") file->session.search_path = SplitSearchPath(rest);
  if (word == "role") file->session.role = rest;
  if (word == "open") file->options.open_catalog = true;
}

}  // namespace

std::string GoldenPath(const std::string& name) {
  return std::filesystem::path(POSTERN_SOURCE_DIR) / "tests/unit/common/sql/golden" / name;
}

std::string ReadGoldenText(const std::string& name) {
  std::ifstream file(GoldenPath(name));
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

GoldenFile ReadGoldenFile(const std::string& name) {
  GoldenFile file;
  file.name = name;
  enum { kHeader, kSql, kExpected } part = kHeader;
  std::istringstream lines(ReadGoldenText(name));
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.starts_with("=== ")) {
      file.cases.push_back({number, line.substr(4), "", ""});
      part = kSql;
    } else if (part == kHeader) {
      file.header += line + "\n";
      HeaderLine(line, &file);
    } else if (line == "---") {
      part = kExpected;
    } else if (part == kSql) {
      file.cases.back().sql += (file.cases.back().sql.empty() ? "" : "\n") + line;
    } else if (!line.empty()) {
      file.cases.back().expected += line + "\n";
    }
  }
  return file;
}

std::vector<std::string> GoldenFileNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(GoldenPath(""))) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace postern::sql
