package org.gemcut.demo.engine;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.gemcut.core.BundleException;
import org.gemcut.core.Manifest;
import org.pytorch.executorch.ExecuTorchRuntime;

/** Holds what a program needs against what the library in this app has, so that what is missing is said by name. */
final class Registry {
    private static final int SHOWN = 4;

    private Registry() {}

    /**
     * Loads the library and asks it.
     *
     * @throws BundleException operators or backends are missing, or the library isn't in the app
     */
    static void require(Manifest manifest) throws BundleException {
        String[] operators;
        String[] backends;
        try {
            operators = ExecuTorchRuntime.getRegisteredOps();
            backends = ExecuTorchRuntime.getRegisteredBackends();
        } catch (LinkageError error) {
            throw new BundleException(BundleException.Kind.RUNTIME,
                    "ExecuTorch's library can't be loaded: " + error.getMessage(),
                    "the app was built without it for this phone's processor: it has arm64-v8a and x86_64", error);
        }
        require("operators", manifest.kernels, operators);
        require("backends", delegates(manifest), backends);
    }

    private static void require(String kind, Collection<String> wanted, String[] there) throws BundleException {
        Set<String> missing = new TreeSet<String>(wanted);
        missing.removeAll(new HashSet<String>(Arrays.asList(there)));
        if (missing.isEmpty() || there.length == 0) { // a build without a registry: loading it will tell
            return;
        }
        StringBuilder names = new StringBuilder();
        int shown = 0;
        for (String name : missing) {
            if (shown++ < SHOWN) {
                names.append(shown > 1 ? ", " : "").append(name);
            }
        }
        String more = missing.size() > SHOWN ? " and " + (missing.size() - SHOWN) + " more" : "";
        throw new BundleException(BundleException.Kind.UNSUPPORTED,
                "the ExecuTorch in this app lacks " + kind + " that the program needs: " + names + more,
                "build the app with a newer ExecuTorch, or export the bundle for this one: 'gemcut check' says how");
    }

    private static Set<String> delegates(Manifest manifest) {
        Set<String> names = new TreeSet<String>();
        JsonElement found = manifest.json.get("delegates");
        if (found instanceof JsonObject) {
            for (Map.Entry<String, JsonElement> each : ((JsonObject) found).entrySet()) {
                names.add(each.getKey());
            }
        }
        return names;
    }
}
