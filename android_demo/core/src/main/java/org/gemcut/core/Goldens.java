package org.gemcut.core;

import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** A bundle's goldens, and what the exporting machine recorded of each. */
public final class Goldens {
    static final String[] GOLDENS = {"goldens/goldens.safetensors", "goldens/goldens.jsonl"};
    static final String[] RECORDED = {"goldens/recorded.safetensors", "goldens/recorded.jsonl"};

    /** The bundle that they are of. */
    public final Manifest manifest;

    public final List<Golden> goldens;

    /** What the exporting machine recorded, in the same order. */
    public final List<Recorded> host;

    Goldens(Manifest manifest, List<Golden> goldens, List<Recorded> host) throws BundleException {
        this.manifest = manifest;
        this.goldens = Collections.unmodifiableList(goldens);
        this.host = Collections.unmodifiableList(host);
        if (goldens.isEmpty() || goldens.size() != host.size()) {
            throw BundleException.damaged("the recorded outputs are not those of these goldens");
        }
        for (int i = 0; i < goldens.size(); i++) {
            Comparison.requireShape(goldens.get(i), host.get(i));
        }
    }

    /** Reads the four files of a bundle, each held against its hash. */
    public static Goldens read(Bundle bundle) throws BundleException {
        List<Golden> goldens = goldens(bundle.read(GOLDENS[0]), bundle.text(GOLDENS[1]));
        List<Recorded> host = recorded(bundle.read(RECORDED[0]), bundle.text(RECORDED[1]));
        return new Goldens(bundle.manifest, goldens, host);
    }

    static List<Golden> goldens(byte[] tensors, String lines) throws BundleException {
        Safetensors from = new Safetensors(tensors, GOLDENS[0]);
        List<Golden> found = new ArrayList<Golden>();
        for (JsonObject line : objects(lines, GOLDENS[1])) {
            found.add(golden(line, from));
        }
        from.done();
        return found;
    }

    private static Golden golden(JsonObject line, Safetensors from) throws BundleException {
        String id = Json.string(line, "id", GOLDENS[1]);
        String where = GOLDENS[1] + ": " + id;
        int[] ids = from.ints("ids", Json.integer(line, "length", where));
        int first = Json.integer(line, "first", where);
        int promptLength = Json.integer(line, "prompt_length", where);
        int positions = ids.length - 1 - first;
        if (first < 0 || positions < 1 || promptLength < 1 || promptLength > ids.length) {
            throw BundleException.damaged(where + ": its lengths don't fit together");
        }
        int[] greedy = from.ints("greedy_ids", Json.integer(line, "greedy_length", where));
        return new Golden(
                id,
                Json.string(line, "kind", where),
                Json.array(line.get("messages"), where + ": messages"),
                Json.array(line.get("tools"), where + ": tools"),
                Json.bool(line, "add_generation_prompt", where),
                line.has("thinking") && Json.bool(line, "thinking", where),
                line.has("expected"),
                Json.string(line, "rendered", where),
                ids,
                promptLength,
                first,
                from.intRows("topk_ids", positions),
                from.floatRows("topk_logprobs", positions),
                from.floats("target_logprobs", positions),
                greedy,
                Json.string(line, "greedy_text", where),
                Json.bool(line, "ended", where),
                from.floats("margin", greedy.length));
    }

    static List<Recorded> recorded(byte[] tensors, String lines) throws BundleException {
        Safetensors from = new Safetensors(tensors, RECORDED[0]);
        List<Recorded> found = new ArrayList<Recorded>();
        for (JsonObject line : objects(lines, RECORDED[1])) {
            int positions = Json.integer(line, "positions", RECORDED[1]);
            found.add(new Recorded(
                    from.floatRows("logprobs", positions),
                    from.floats("target_logprobs", positions),
                    from.ints("top1", positions),
                    from.ints("greedy_ids", Json.integer(line, "greedy_length", RECORDED[1])),
                    Json.string(line, "greedy_text", RECORDED[1]),
                    Json.bool(line, "ended", RECORDED[1])));
        }
        from.done();
        return found;
    }

    /** One JSON object a line; a line ends with a line feed and nothing else, whatever a text may hold. */
    private static List<JsonObject> objects(String lines, String name) throws BundleException {
        List<JsonObject> found = new ArrayList<JsonObject>();
        for (String line : lines.split("\n")) {
            if (!line.isEmpty()) {
                found.add(Json.object(Json.parse(line, name), name));
            }
        }
        return found;
    }
}
