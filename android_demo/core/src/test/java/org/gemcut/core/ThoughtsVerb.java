package org.gemcut.core;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.List;

/** What Python's tests ask of {@link Thoughts}: a prompt.json a line first, then replies in the pieces that they came in. */
final class ThoughtsVerb {
    private ThoughtsVerb() {}

    static List<JsonObject> answers(List<String> lines) throws BundleException {
        List<Prompt> prompts = new ArrayList<Prompt>();
        for (JsonElement one : Json.parse(lines.get(0), "prompts").getAsJsonArray()) {
            prompts.add(Prompt.read(one.toString()));
        }
        List<JsonObject> found = new ArrayList<JsonObject>();
        for (String line : lines.subList(1, lines.size())) {
            JsonObject given = Json.object(Json.parse(line, "a case"), "a case");
            found.add(answer(prompts.get(given.get("prompt").getAsInt()), given));
        }
        return found;
    }

    private static JsonObject answer(Prompt prompt, JsonObject given) {
        final JsonArray heard = new JsonArray();
        String begun = prompt.thoughtBegun(given.get("rendered").getAsString());
        Thoughts thoughts = new Thoughts(prompt, begun, new Thoughts.Listener() {
            @Override
            public void onPiece(String piece, boolean thought) {
                JsonArray one = new JsonArray();
                one.add(piece);
                one.add(thought);
                heard.add(one);
            }
        });
        StringBuilder text = new StringBuilder();
        for (JsonElement piece : given.get("pieces").getAsJsonArray()) {
            thoughts.add(piece.getAsString());
            text.append(piece.getAsString());
        }
        thoughts.finish();
        Thoughts.Told told = Thoughts.tell(prompt, text.toString(), begun);
        JsonObject answer = new JsonObject();
        answer.addProperty("begun", begun);
        answer.add("heard", heard);
        answer.addProperty("words", told.words);
        answer.addProperty("thoughts", told.thoughts);
        answer.addProperty("objects", prompt.writesObjects());
        return answer;
    }
}
