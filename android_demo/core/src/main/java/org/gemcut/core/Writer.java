package org.gemcut.core;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Writes JSON values as a chat template does; the kinds are those of docs/concepts/prompt.md in Gemcut. */
abstract class Writer {
    private static final int DEEPEST = 4 * 64;

    /** The writers that a ref names. */
    static final class Names {
        final Map<String, Writer> writers = new HashMap<String, Writer>();

        Writer get(String name) throws BundleException {
            Writer found = writers.get(name);
            if (found == null) {
                throw BundleException.damaged(Prompt.NAME + " has no writer named " + Words.quoted(name));
            }
            return found;
        }
    }

    abstract void put(JsonElement value, StringBuilder out, int depth) throws BundleException;

    /** Adds a value's text. Raises BundleException where the template doesn't take it. */
    final void write(JsonElement value, StringBuilder out, int depth) throws BundleException {
        if (depth > DEEPEST) {
            throw refused("a tool or a call is nested too deeply");
        }
        put(value, out, depth);
    }

    static BundleException refused(String message) {
        return new BundleException(BundleException.Kind.UNSUPPORTED, message, "");
    }

    static BundleException wrong(JsonElement value, String wanted) {
        String shown = String.valueOf(value);
        shown = shown.length() <= 60 ? shown : shown.substring(0, 57) + "...";
        return refused("the template can't write " + shown + " here: it takes " + wanted);
    }

    /** Null where the value is null. */
    static Writer orNull(JsonElement value, String where, Names names) throws BundleException {
        return value.isJsonNull() ? null : of(value, where, names);
    }

    static Writer of(JsonElement value, String where, Names names) throws BundleException {
        Fields fields = new Fields(value, where);
        String kind = fields.string("write");
        Writer found;
        if (kind.equals("string")) {
            found = new Text(fields);
        } else if (kind.equals("number")) {
            found = new Number(fields);
        } else if (kind.equals("list")) {
            found = new Items(fields, names);
        } else if (kind.equals("map")) {
            found = new Members(fields, names);
        } else if (kind.equals("record")) {
            found = new RecordWriter(fields, names);
        } else if (kind.equals("cases")) {
            found = new Cases(fields, names);
        } else if (kind.equals("any")) {
            found = new Any(fields, names);
        } else if (kind.equals("ref")) {
            found = new Ref(fields, names);
        } else {
            throw BundleException.damaged(where + ": there is no writer " + Words.quoted(kind));
        }
        fields.done();
        return found;
    }

    /** A string between open and close. */
    static final class Text extends Writer {
        final String open;
        final String close;
        final boolean json;
        final String trim;
        final boolean upper;

        Text(Fields fields) throws BundleException {
            open = fields.string("open");
            close = fields.string("close");
            json = fields.oneOf("escape", "none", "json").equals("json");
            trim = fields.oneOf("trim", "none", "start", "end", "both");
            upper = fields.bool("upper");
        }

        @Override
        void put(JsonElement value, StringBuilder out, int depth) throws BundleException {
            if (!Json.isString(value)) {
                throw wrong(value, "text");
            }
            String text = PromptText.trim(value.getAsString(), trim);
            if (upper) {
                for (int i = 0; i < text.length(); i++) {
                    if (text.charAt(i) > 127) {
                        throw wrong(value, "ASCII text");
                    }
                }
                text = text.toUpperCase(Locale.ROOT);
            }
            out.append(open).append(json ? PromptText.escaped(text) : text).append(close);
        }
    }

    /** A number's own text between open and close. */
    static final class Number extends Writer {
        final String open;
        final String close;

        Number(Fields fields) throws BundleException {
            open = fields.string("open");
            close = fields.string("close");
        }

        @Override
        void put(JsonElement value, StringBuilder out, int depth) throws BundleException {
            String text = Json.isNumber(value) ? PromptText.number(value.getAsString()) : null;
            if (text == null) {
                throw wrong(value, "a number");
            }
            out.append(open).append(text).append(close);
        }
    }

    /** The items of a list. */
    static final class Items extends Writer {
        final String open;
        final String between;
        final String close;
        final String empty;
        final Writer item;

        Items(Fields fields, Names names) throws BundleException {
            open = fields.string("open");
            between = fields.string("between");
            close = fields.string("close");
            empty = fields.stringOrNull("empty");
            item = of(fields.get("item"), fields.where("item"), names);
        }

        @Override
        void put(JsonElement value, StringBuilder out, int depth) throws BundleException {
            if (value == null || !value.isJsonArray()) {
                throw wrong(value, "a list");
            }
            JsonArray list = value.getAsJsonArray();
            if (list.size() == 0 && empty != null) {
                out.append(empty);
                return;
            }
            out.append(open);
            for (int i = 0; i < list.size(); i++) {
                out.append(i > 0 ? between : "");
                item.write(list.get(i), out, depth + 1);
            }
            out.append(close);
        }
    }

    /** The members of an object. */
    static final class Members extends Writer {
        final String open;
        final String between;
        final String close;
        final String empty;
        final String colon;
        final String sort;
        final boolean skipNull;
        final Text key;
        final Writer value;
        final Map<String, Writer> byKey = new HashMap<String, Writer>();
        final List<String> refuses;

        Members(Fields fields, Names names) throws BundleException {
            open = fields.string("open");
            between = fields.string("between");
            close = fields.string("close");
            empty = fields.stringOrNull("empty");
            colon = fields.string("colon");
            sort = fields.oneOf("sort", "none", "dictsort", "codepoints");
            skipNull = fields.bool("skip_null");
            Writer keys = of(fields.get("key"), fields.where("key"), names);
            if (!(keys instanceof Text)) {
                throw BundleException.damaged(fields.where("key") + " should be a writer of strings");
            }
            key = (Text) keys;
            value = of(fields.get("value"), fields.where("value"), names);
            for (Map.Entry<String, JsonElement> one : fields.named("by_key").entrySet()) {
                byKey.put(one.getKey(), of(one.getValue(), fields.where("by_key." + one.getKey()), names));
            }
            refuses = fields.strings("refuses");
        }

        Writer valueOf(String name) {
            return byKey.containsKey(name) ? byKey.get(name) : value;
        }

        @Override
        void put(JsonElement given, StringBuilder out, int depth) throws BundleException {
            if (given == null || !given.isJsonObject()) {
                throw wrong(given, "an object");
            }
            JsonObject object = given.getAsJsonObject();
            refuse(refuses, object);
            List<String> keys = new ArrayList<String>();
            for (Map.Entry<String, JsonElement> one : object.entrySet()) {
                if (!skipNull || !one.getValue().isJsonNull()) {
                    keys.add(one.getKey());
                }
            }
            if (!sort.equals("none")) {
                Collections.sort(keys, new Order(sort.equals("dictsort")));
            }
            if (keys.isEmpty() && empty != null) {
                out.append(empty);
                return;
            }
            out.append(open);
            for (int i = 0; i < keys.size(); i++) {
                out.append(i > 0 ? between : "");
                key.write(new JsonPrimitive(keys.get(i)), out, depth + 1);
                out.append(colon);
                valueOf(keys.get(i)).write(object.get(keys.get(i)), out, depth + 1);
            }
            out.append(close);
        }
    }

    private static final class Order implements Comparator<String> {
        private final boolean lower;

        Order(boolean lower) {
            this.lower = lower;
        }

        @Override
        public int compare(String one, String other) {
            return lower
                    ? PromptText.compare(one.toLowerCase(Locale.ROOT), other.toLowerCase(Locale.ROOT))
                    : PromptText.compare(one, other);
        }
    }

    static void refuse(List<String> refuses, JsonObject object) throws BundleException {
        for (String key : refuses) {
            if (!Json.isNull(object.get(key))) {
                throw refused(
                        "what the template does with " + Words.quoted(key) + " here isn't compiled: leave it out");
            }
        }
    }

    /** An object by the text of one of its members. */
    static final class Cases extends Writer {
        private final String key;
        private final Map<String, Writer> cases = new HashMap<String, Writer>();
        private final Writer other;

        Cases(Fields fields, Names names) throws BundleException {
            key = fields.string("key");
            for (Map.Entry<String, JsonElement> one : fields.named("cases").entrySet()) {
                cases.put(one.getKey(), of(one.getValue(), fields.where("cases." + one.getKey()), names));
            }
            other = orNull(fields.get("other"), fields.where("other"), names);
        }

        @Override
        void put(JsonElement value, StringBuilder out, int depth) throws BundleException {
            JsonElement which = value != null && value.isJsonObject() ? value.getAsJsonObject().get(key) : null;
            if (!Json.isString(which)) {
                throw wrong(value, "an object whose " + Words.quoted(key) + " is text");
            }
            Writer chosen = cases.get(which.getAsString().toLowerCase(Locale.ROOT));
            chosen = chosen == null ? other : chosen;
            if (chosen == null) {
                throw refused("the template can't write " + Words.quoted(key) + ": "
                        + Words.quoted(which.getAsString()) + " here");
            }
            chosen.write(value, out, depth + 1);
        }
    }

    /** A value by its JSON type; null where the template can't write that type. */
    static final class Any extends Writer {
        final Writer string;
        final Writer number;
        final String yes;
        final String no;
        final String none;
        final Writer list;
        final Writer map;

        Any(Fields fields, Names names) throws BundleException {
            string = orNull(fields.get("string"), fields.where("string"), names);
            number = orNull(fields.get("number"), fields.where("number"), names);
            yes = fields.stringOrNull("true");
            no = fields.stringOrNull("false");
            none = fields.stringOrNull("null");
            list = orNull(fields.get("list"), fields.where("list"), names);
            map = orNull(fields.get("map"), fields.where("map"), names);
        }

        @Override
        void put(JsonElement value, StringBuilder out, int depth) throws BundleException {
            if (Json.isNull(value) || Json.isBoolean(value)) {
                String word = Json.isNull(value) ? none : value.getAsBoolean() ? yes : no;
                if (word == null) {
                    throw wrong(value, "other types");
                }
                out.append(word);
                return;
            }
            Writer inner = value.isJsonArray() ? list
                    : value.isJsonObject() ? map : Json.isString(value) ? string : number;
            if (inner == null) {
                throw wrong(value, "other types");
            }
            inner.write(value, out, depth + 1);
        }
    }

    /** A writer by its name. */
    static final class Ref extends Writer {
        private final String name;
        private final Names names;

        Ref(Fields fields, Names names) throws BundleException {
            this.name = fields.string("name");
            this.names = names;
        }

        Writer target() throws BundleException {
            return names.get(name);
        }

        @Override
        void put(JsonElement value, StringBuilder out, int depth) throws BundleException {
            target().write(value, out, depth + 1);
        }
    }
}
