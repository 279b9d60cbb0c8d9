plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "org.example.assistant"
    compileSdk = 35

    defaultConfig {
        applicationId = "org.example.assistant"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
        ndk {
            abiFilters += listOf("arm64-v8a", "x86_64")
        }
    }

    // bundles/assistant as gemcut export leaves it, byte for byte
    sourceSets["main"].assets.srcDir("../bundles")
    androidResources {
        noCompress += listOf("pte", "safetensors")
    }
}

dependencies {
    implementation(libs.executorch.android)
}
